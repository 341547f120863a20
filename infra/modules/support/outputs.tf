output "policy" {
  description = "The support policy: document (`json`) and ARN (`arn`)."
  value       = { json = data.aws_iam_policy_document.support.json, arn = aws_iam_policy.support.arn }
}
