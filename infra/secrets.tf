# Secrets are made empty. Their values are put there by hand or by aws_secretsmanager_secret_version, and never pass
# through this module. The names end in a suffix of their own, since a deleted secret keeps its name for days.

resource "aws_secretsmanager_secret" "pagerduty" {
  name_prefix = "${var.name_prefix}_pd_routing_key_"
  description = "PagerDuty integration key (Events API v2), plain, or JSON of routes and keys."
  kms_key_id  = var.kms_key_arn
  tags        = local.tags
}

locals {
  # One token serves all groups of GitHub and of Buildkite; CircleCI has one for each resource class.
  group_secrets = {
    for id, same in local.groups : id => {
      gha = "gha_token"
      bk  = "bk_agent_token"
      cci = "cci_${replace(same[0].name, "-", "_")}"
    }[same[0].host]
  }
  secret_descriptions = {
    gha = "GitHub token that may register runners, plain text."
    bk  = "Buildkite agent token, plain text."
    cci = "JSON: resource_class, access_token, auth_token."
  }
}

resource "aws_secretsmanager_secret" "agent" {
  for_each = toset(values(local.group_secrets))

  name_prefix = "${var.name_prefix}_${each.key}_"
  description = local.secret_descriptions[split("_", each.key)[0]]
  kms_key_id  = var.kms_key_arn
  tags        = local.tags
}
