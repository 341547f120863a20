# function.json declares each function and its subscriptions. The permissions of each function are in iam-<name>.tf.

locals {
  functions_folder = "${module.inputs.folder}/../functions"
  functions = {
    for file in fileset(local.functions_folder, "*/function.json") : dirname(file) =>
    jsondecode(replace(replace(file("${local.functions_folder}/${file}"), "$${prefix}", var.name_prefix), "$${bucket}", local.bucket_name))
    if dirname(file) != "webhooks" || var.enable_webhooks
  }

  # A function without an inbox has no queues; modules/function uses the same rule.
  functions_with_inbox = [
    for name, spec in local.functions : name
    if anytrue([for one in spec.subscriptions : one.kind != "url"]) || length(try(spec.extraInboxes, [])) > 0
  ]

  # All environment values that a function.json may name.
  function_values = {
    NAME_PREFIX       = var.name_prefix
    BUCKET            = local.bucket_name
    ACCOUNT_ID        = local.account
    REPORTS_URL       = "${local.sqs_url}/${local.reports_queue}"
    EVENT_BUS         = aws_cloudwatch_event_bus.reports.name
    ROUTING_SECRET_ID = aws_secretsmanager_secret.pagerduty.arn
    SCALING_INBOX_URL = "${local.sqs_url}/${var.name_prefix}-scaling-inbox"
    WEBHOOK_SECRETS   = jsonencode({ for host, secret in aws_secretsmanager_secret.webhook : host => secret.arn })
    PAGERDUTY_URL     = var.pagerduty_url
    PARAMETER_ROOT    = "/${var.name_prefix}"
    REPLICA_REGIONS   = jsonencode(var.replica_regions)
    WARMING_SETS = jsonencode({
      for set, group in local.running_sets : set => {
        group           = group
        deadlineMinutes = module.inputs.warming_sets[set].deadline_minutes
        keep            = module.inputs.warming_sets[set].keep
      }
    })
  }

  # Names of roles belong to the account, so they have the region. reports_bus names one of them before it exists.
  function_roles = { for name in keys(local.functions) : name => "${var.name_prefix}_${name}_${local.region_code}" }

  function_policies = {
    alarms       = data.aws_iam_policy_document.alarms.json
    lifecycle    = data.aws_iam_policy_document.lifecycle.json
    parameters   = data.aws_iam_policy_document.parameters.json
    registration = data.aws_iam_policy_document.registration.json
    scaling      = data.aws_iam_policy_document.scaling.json
    warming      = data.aws_iam_policy_document.warming.json
    webhooks     = data.aws_iam_policy_document.webhooks.json
  }
}

locals {
  # Runners alone send reports. Their roles have the names of their groups. The roles of functions and of their schedules, which
  # send to all other queues, have an underscore in their names. An operator redrives by hand.
  queue_senders = merge(
    { reports = ["arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-*"] },
    { for queue in ["inbox", "dead"] : queue => concat(
      ["arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}_*"],
      [for role in module.inputs.support.operator_role_name[*] : "arn:${local.partition}:iam::${local.account}:role/${role}"],
      var.inbox_senders,
    ) },
  )
}

# Verified reports, from lifecycle to their subscribers. On the default bus every principal with events:PutEvents may use any source.
resource "aws_cloudwatch_event_bus" "reports" {
  name = "${var.name_prefix}-reports"
  tags = local.tags
}

data "aws_iam_policy_document" "reports_bus" {
  statement {
    sid       = "DenyOtherPublishers"
    effect    = "Deny"
    actions   = ["events:PutEvents"]
    resources = [aws_cloudwatch_event_bus.reports.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = ["arn:${local.partition}:iam::${local.account}:role/${try(local.function_roles.lifecycle, "none")}"]
    }
  }
}

resource "aws_cloudwatch_event_bus_policy" "reports" {
  event_bus_name = aws_cloudwatch_event_bus.reports.name
  policy         = data.aws_iam_policy_document.reports_bus.json
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name                 = each.key
  name_prefix          = var.name_prefix
  role_name            = local.function_roles[each.key]
  spec                 = each.value
  code                 = local.code[each.key]
  environment          = { for name in each.value.environment : name => lookup(local.function_values, name, null) }
  policy_json          = lookup(local.function_policies, each.key, null)
  buses                = { for name, bus in { buildkite = var.buildkite_event_bus } : name => bus if bus != null }
  schedules_by_set     = { for set in keys(local.running_sets) : set => module.inputs.warming_sets[set].schedule }
  senders              = local.queue_senders
  event_bus            = aws_cloudwatch_event_bus.reports.name
  reserve_concurrency  = var.enable_function_reserved_concurrency
  kms_key_arn          = var.kms_key_arn
  permissions_boundary = var.permissions_boundary
  log_retention_days   = var.log_retention_days
  runbook              = module.alarms.runbooks["dead-letters"]
  # The function alarms cannot page for its own dead letters, so these go to the SNS topic.
  dead_letter_topics = each.key == "alarms" ? [module.alarms.topic_arn] : []
  tags               = local.tags
}
