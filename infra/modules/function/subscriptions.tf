# EventBridge rules and schedules from function.json, which send to the inbox, and the URL.

locals {
  # A subscription to a bus that the deployment does not have has no rule.
  events = { for one in var.spec.subscriptions : one.name => one if one.kind == "events" && (can(one.bus) ? contains(keys(var.buses), one.bus) : true) }
  buses  = { for name, one in local.events : name => try(var.buses[one.bus], startswith(one.pattern.source[0], "${var.name_prefix}.") ? var.event_bus : "default") }

  schedules = merge(
    { for one in var.spec.subscriptions : one.name => {
      schedule = one.schedule
      input    = one.input
    } if one.kind == "schedule" && try(one.forEach, null) == null },
    # One schedule per warming set. The set's name and schedule expression replace the placeholders in function.json.
    merge([for one in var.spec.subscriptions : {
      for set, schedule in var.schedules_by_set : "${one.name}-${set}" => {
        schedule = replace(one.schedule, "$${schedule}", schedule)
        input    = jsondecode(replace(jsonencode(one.input), "$${set}", set))
      }
    } if one.kind == "schedule" && try(one.forEach, null) == "warmingSets"]...),
  )

  schedule_names = { for key in keys(local.schedules) : key => "${var.name_prefix}-${var.name}-${key}" }
  schedule_arns  = { for key, name in local.schedule_names : key => "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule/default/${name}" }

  # The envelope of EventBridge. The Scheduler replaces the placeholders for id and time. jsonencode escapes angle brackets,
  # which the Scheduler does not recognise, so the escape sequences are replaced.
  schedule_inputs = {
    for key, one in local.schedules : key => replace(replace(jsonencode(merge({
      version   = "0"
      id        = "<aws.scheduler.execution-id>"
      account   = local.account
      region    = local.region
      time      = "<aws.scheduler.scheduled-time>"
      resources = [local.schedule_arns[key]]
    }, one.input)), "\\u003c", "<"), "\\u003e", ">")
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.events

  name           = "${var.name_prefix}-${var.name}-${each.key}"
  description    = "Sends events to the inbox of the function ${var.name}."
  event_bus_name = local.buses[each.key]
  event_pattern  = jsonencode(each.value.pattern)
  tags           = var.tags
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.events

  rule           = aws_cloudwatch_event_rule.this[each.key].name
  event_bus_name = local.buses[each.key]
  target_id      = "inbox"
  arn            = aws_sqs_queue.inbox[0].arn

  dead_letter_config {
    arn = aws_sqs_queue.dead[0].arn
  }
}

data "aws_iam_policy_document" "scheduler_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      # For schedules, aws:SourceArn is the ARN of the schedule group.
      values = ["arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/default"]
    }
  }
}

resource "aws_iam_role" "scheduler" {
  count = length(local.schedules) > 0 ? 1 : 0

  name                 = "${var.role_name}_schedules"
  assume_role_policy   = data.aws_iam_policy_document.scheduler_assume.json
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

data "aws_iam_policy_document" "scheduler" {
  count = length(local.schedules) > 0 ? 1 : 0

  statement {
    sid       = "SendToInbox"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.inbox[0].arn, aws_sqs_queue.dead[0].arn]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      sid       = "UseKeyOfQueues"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["sqs.${local.region}.${local.dns_suffix}"]
      }
    }
  }
}

resource "aws_iam_role_policy" "scheduler" {
  count = length(local.schedules) > 0 ? 1 : 0

  name   = "inbox"
  role   = aws_iam_role.scheduler[0].id
  policy = data.aws_iam_policy_document.scheduler[0].json
}

resource "aws_scheduler_schedule" "this" {
  for_each = local.schedules

  name                = local.schedule_names[each.key]
  schedule_expression = each.value.schedule
  kms_key_arn         = var.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sqs_queue.inbox[0].arn
    role_arn = aws_iam_role.scheduler[0].arn
    input    = local.schedule_inputs[each.key]

    dead_letter_config {
      arn = aws_sqs_queue.dead[0].arn
    }
  }
}

resource "aws_lambda_function_url" "this" {
  for_each = { for one in var.spec.subscriptions : one.name => one if one.kind == "url" }

  function_name = aws_lambda_function.this.function_name
  # Without a qualifier: the URL belongs to $LATEST, as the event source mappings do. With NONE the provider itself adds
  # the permissions of the public; the second one, lambda:InvokeFunction through the URL only, from version 6.29 on. With AWS_IAM the policies of the callers in this account decide.
  authorization_type = { iam = "AWS_IAM", none = "NONE" }[each.value.auth]
}
