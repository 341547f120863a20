output "names" {
  description = "What the group is made of."
  value = {
    auto_scaling_group = aws_autoscaling_group.this.name
    role               = aws_iam_role.this.name
    security_group_id  = aws_security_group.this.id
  }
}
