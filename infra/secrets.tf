# The module creates empty secrets. You put the values in by hand or with aws_secretsmanager_secret_version; values never
# pass through this module. Names end in a random suffix, because a deleted secret keeps its name for days.

resource "aws_secretsmanager_secret" "pagerduty" {
  name_prefix = "${var.name_prefix}_pd_routing_key_"
  description = "PagerDuty integration key (Events API v2): plain text, or JSON that maps routes to keys."
  kms_key_id  = var.kms_key_arn
  tags        = local.secret_tags
}

locals {
  # GitHub and Buildkite each use one secret for all groups. CircleCI uses one per group, since its tokens belong to one
  # resource class.
  group_secrets = {
    for id, same in local.groups : id => {
      gha = "gha_app"
      bk  = "bk_agent_token"
      cci = "cci_${replace(same[0].name, "-", "_")}"
    }[same[0].host]
  }
  agent_secrets = toset(concat(values(local.group_secrets), contains(values(local.group_secrets), "gha_app") ? ["gha_token"] : []))

  # At most three, whatever the number of groups. Policies name these, and have one pattern for those of CircleCI. No other
  # deployment has secrets of such names, since a name_prefix has no underscore, and no role of the module may change tags.
  shared_agent_secrets = [for secret in local.agent_secrets : secret if !startswith(secret, "cci_")]
  circleci_secrets_arn = anytrue([for secret in local.agent_secrets : startswith(secret, "cci_")]) ? "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.name_prefix}_cci_*" : null

  secret_tags = merge(local.tags, { "hearth:deployment" = var.name_prefix })
  secret_descriptions = {
    gha_app        = "GitHub App: JSON {\"appId\": \"...\", \"privateKey\": \"...\"}, or a list of several."
    gha_token      = "GitHub token that may register runners, plain text. Used if the secret of the GitHub App is empty."
    bk_agent_token = "Buildkite agent token, plain text."
    cci            = "CircleCI credentials: JSON {\"resource_class\": \"...\", \"auth_token\": \"...\", \"access_token\": \"...\"}."
  }
}

# Keys that webhooks are signed with. Only the function webhooks reads them.
resource "aws_secretsmanager_secret" "webhook" {
  for_each = toset(var.enable_webhooks ? [for host in ["gha", "bk"] : host if anytrue([for same in values(local.groups) : same[0].host == host])] : [])

  name_prefix = "${var.name_prefix}_${each.key}_webhook_"
  description = "${ { gha = "Secret of the webhook of GitHub", bk = "Token of the webhook of Buildkite" }[each.key]}: plain text of at least 16 characters, or a JSON list of two during a rotation."
  kms_key_id  = var.kms_key_arn
  tags        = local.secret_tags
}

# Only the functions registration and scaling read these secrets. No instance does: a job has the permissions of its instance.
resource "aws_secretsmanager_secret" "agent" {
  for_each = local.agent_secrets

  name_prefix = "${var.name_prefix}_${each.key}_"
  description = lookup(local.secret_descriptions, each.key, local.secret_descriptions.cci)
  kms_key_id  = var.kms_key_arn
  tags        = local.secret_tags
}
