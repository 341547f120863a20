output "names" {
  description = "Names of the Auto Scaling group and the role, and id of the security group."
  value = {
    auto_scaling_group = aws_autoscaling_group.this.name
    role               = aws_iam_role.this.name
    security_group_id  = aws_security_group.this.id
  }
}
