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
  value       = { for set, policy in aws_iam_policy.manage : set => { arn = policy.arn, name = policy.name } }
}
