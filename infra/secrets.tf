# The module creates empty secrets. You put the values in by hand or with aws_secretsmanager_secret_version; values never
# pass through this module. Names end in a random suffix, because a deleted secret keeps its name for days.

resource "aws_secretsmanager_secret" "pagerduty" {
  name_prefix = "${var.name_prefix}_pd_routing_key_"
  description = "PagerDuty integration key (Events API v2): plain text, or JSON that maps routes to keys."
  kms_key_id  = var.kms_key_arn
  tags        = local.tags
}

locals {
  # GitHub and Buildkite each use one token for all groups. CircleCI uses one token per resource class.
  group_secrets = {
    for id, same in local.groups : id => {
      gha = "gha_token"
      bk  = "bk_agent_token"
      cci = "cci_${replace(same[0].name, "-", "_")}"
    }[same[0].host]
  }
  secret_descriptions = {
    gha = "GitHub token with permission to register runners, plain text."
    bk  = "Buildkite agent token, plain text."
    cci = "CircleCI credentials: JSON with resource_class, access_token and auth_token."
  }
}

resource "aws_secretsmanager_secret" "agent" {
  for_each = toset(values(local.group_secrets))

  name_prefix = "${var.name_prefix}_${each.key}_"
  description = local.secret_descriptions[split("_", each.key)[0]]
  kms_key_id  = var.kms_key_arn
  tags        = local.tags
}
