output "dashboard_url" {
  description = "The dashboard."
  value       = local.dashboard_url
}

output "runbooks" {
  description = "By kind of alarm: tags, and the last line of a description."
  value       = local.runbooks
}
