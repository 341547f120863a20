output "warming_management_policies" {
  description = "By warming set: the policy that lets its warming group write snapshots. For `policies = { warming_manage = … }` of that group."
  value       = module.warming.management_policies
}

output "support_policy" {
  description = "`json` of the policy for those who look after the fleet, and its `arn`."
  value       = module.support.policy
}

output "pagerduty_routing_secret_id" {
  description = "The secret that the PagerDuty key belongs in."
  value       = aws_secretsmanager_secret.pagerduty.id
}

output "agent_secret_ids" {
  description = "By runner group: the secret that its host's token belongs in."
  value       = { for id, secret in local.group_secrets : id => aws_secretsmanager_secret.agent[secret].id }
}

output "cost_allocation_tag" {
  description = "Key of the cost tag, for `default_tags` and for activation in the billing console."
  value       = var.cost_allocation_tag
}

output "cost_allocation_tag_value" {
  description = "Value of the cost tag."
  value       = local.cost_allocation_tag_value
}

output "alarms_sns_topic_arn" {
  description = "The topic of the alarms that say that paging itself is broken; all others reach PagerDuty without it. Subscribe an address or a chat."
  value       = module.alarms.topic_arn
}

output "bucket" {
  description = "Name of the snapshot bucket."
  value       = module.warming.bucket_id
}

output "groups" {
  description = "By runner group: its Auto Scaling group, role and security group."
  value       = { for id, group in module.runner_group : id => group.names }
}

output "queues" {
  description = "By function: its inbox, further inboxes and dead-letter queue."
  value       = { for name, function in module.function : name => function.queues }
}

output "dashboard_url" {
  description = "The CloudWatch dashboard."
  value       = module.alarms.dashboard_url
}
