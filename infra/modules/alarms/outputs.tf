output "dashboard_url" {
  description = "URL of the CloudWatch dashboard."
  value       = local.dashboard_url
}

output "grafana_dashboard" {
  description = "Dashboard for the CloudWatch data source of Grafana, as JSON."
  # The file has the default prefix as the value of the variable "deployment".
  value = replace(file("${path.module}/../../grafana/dashboard.json"), "\"aw\"", jsonencode(var.name_prefix))
}

output "topic_arn" {
  description = "ARN of the SNS topic for alarms about paging."
  value       = aws_sns_topic.this.arn
}

output "runbooks" {
  description = "Map from kind of alarm to the tags and the last description line that refer to its runbook."
  value       = local.runbooks
}
