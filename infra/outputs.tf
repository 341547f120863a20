output "warming_management_policies" {
  description = "Map from warming set to the IAM policy (`arn`, `name`) that allows writing snapshots of the set. Put the ARN into `policies = { warming_manage = … }` of the set's warming group."
  value       = module.warming.management_policies
}

output "support_policy" {
  description = "IAM policy for support staff: the document (`json`) and the `arn`."
  value       = module.support.policy
}

output "pagerduty_routing_secret_id" {
  description = "Id of the secret for the PagerDuty integration key. The secret is created empty."
  value       = aws_secretsmanager_secret.pagerduty.id
}

output "agent_secret_ids" {
  description = "Map from runner group to the id of the secret for the CI provider's credentials: for GitHub the GitHub App. The secrets are created empty."
  value       = { for id, secret in local.group_secrets : id => aws_secretsmanager_secret.agent[secret].id }
}

output "gha_token_secret_id" {
  description = "Id of the secret for a GitHub token, which is used if the secret of the GitHub App is empty. The secret is created empty. Null without runner groups on GitHub Actions."
  value       = one([for name, secret in aws_secretsmanager_secret.agent : secret.id if name == "gha_token"])
}

output "webhook_secret_ids" {
  description = "Map from CI provider (`gha`, `bk`) to the id of the secret that its webhooks are signed with. The secrets are created empty. Empty without `enable_webhooks`."
  value       = { for host, secret in aws_secretsmanager_secret.webhook : host => secret.id }
}

output "cost_allocation_tag" {
  description = "Key of the cost allocation tag. Use it in `default_tags`, and activate it in the billing console."
  value       = var.cost_allocation_tag
}

output "cost_allocation_tag_value" {
  description = "Value of the cost allocation tag."
  value       = local.cost_allocation_tag_value
}

output "alarms_sns_topic_arn" {
  description = "ARN of the SNS topic for the alarms that report broken paging. All other alarms reach PagerDuty without this topic. Subscribe an e-mail address or a chat to it."
  value       = module.alarms.topic_arn
}

output "bucket" {
  description = "Name of the snapshot bucket."
  value       = module.warming.bucket_id
}

output "groups" {
  description = "Map from runner group to the names of its Auto Scaling group and role, and the id of its security group."
  value       = { for id, group in module.runner_group : id => group.names }
}

output "queues" {
  description = "Map from function to the URLs of its inbox (`inbox`), further inboxes (`extra`) and dead-letter queue (`dead`)."
  value       = { for name in local.functions_with_inbox : name => module.function[name].queues }
}

output "function_urls" {
  description = "Map from function to its URL, for functions that answer requests."
  value       = { for name, spec in local.functions : name => module.function[name].url if anytrue([for one in spec.subscriptions : one.kind == "url"]) }
}

output "dashboard_url" {
  description = "URL of the CloudWatch dashboard."
  value       = module.alarms.dashboard_url
}

output "grafana_dashboard" {
  description = "JSON of a dashboard for the CloudWatch data source of Grafana, for this deployment. Import it in Grafana, or use it in a `grafana_dashboard` resource."
  value       = module.alarms.grafana_dashboard
}

output "kms_key_statements" {
  description = "Statements (JSON) that the policy of the key `kms_key_arn` needs for the services of AWS, beside the delegation to IAM policies of the account. They do not depend on the key."
  value       = jsonencode(local.kms_key_statements)
}
