output "dashboard_url" {
  description = "The dashboard."
  value       = local.dashboard_url
}

output "topic_arn" {
  description = "Where alarms about paging itself go."
  value       = aws_sns_topic.this.arn
}

output "runbooks" {
  description = "By kind of alarm: tags, and the last line of a description."
  value       = local.runbooks
}
