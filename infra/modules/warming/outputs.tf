output "bucket_id" {
  description = "Name of the snapshot bucket."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the snapshot bucket."
  value       = aws_s3_bucket.this.arn
}

output "management_policies" {
  description = "Map from warming set to the policy (`arn`, `name`) of its warming group."
  # Composed of names, so that it is known in the plan: the root module reads the set of a warming group from it.
  value      = { for set in var.sets : set => { arn = "arn:${var.partition}:iam::${var.account}:policy/${local.policy_names[set]}", name = local.policy_names[set] } }
  depends_on = [aws_iam_policy.manage]
}
