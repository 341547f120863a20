# Inboxes that the function polls, and its dead-letter queue. A function that only answers requests at its URL has none.

resource "aws_sqs_queue" "dead" {
  count = local.has_inbox ? 1 : 0

  name                      = "${var.name_prefix}-${var.name}-dead"
  message_retention_seconds = local.retention
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue" "inbox" {
  count = local.has_inbox ? 1 : 0

  name                       = "${var.name_prefix}-${var.name}-inbox"
  visibility_timeout_seconds = local.visibility
  message_retention_seconds  = local.retention
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  redrive_policy             = local.redrive
  tags                       = var.tags
}

resource "aws_sqs_queue" "extra" {
  for_each = toset(try(var.spec.extraInboxes, []))

  name                       = "${var.name_prefix}-${each.key}"
  max_message_size           = try(var.spec.extraInboxBytes, null)
  visibility_timeout_seconds = local.visibility
  message_retention_seconds  = local.retention
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  redrive_policy             = local.redrive
  tags                       = var.tags
}

locals {
  # As in shared/runtime/function-spec.ts: events, schedules and further queues lead to an inbox, requests do not.
  has_inbox = anytrue([for one in var.spec.subscriptions : one.kind != "url"]) || length(try(var.spec.extraInboxes, [])) > 0

  # 14 days, the maximum of SQS. The function alarms keeps a page in its inbox until the end of a mute window.
  retention = 1209600
  # The default is six times the function's timeout, as AWS recommends.
  visibility = try(var.spec.visibilitySeconds, 6 * var.spec.timeoutSeconds)
  redrive = jsonencode({
    deadLetterTargetArn = one(aws_sqs_queue.dead[*].arn)
    maxReceiveCount     = try(var.spec.receiveLimit, null)
  })
  polled     = merge({ for queue in aws_sqs_queue.inbox : "inbox" => queue }, aws_sqs_queue.extra)
  all_queues = merge({ for queue in aws_sqs_queue.dead : "dead" => queue }, local.polled)
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  count = local.has_inbox ? 1 : 0

  queue_url = aws_sqs_queue.dead[0].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [for queue in local.polled : queue.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = local.all_queues

  # EventBridge rules of this function send events to its inbox, and undeliverable events to its dead-letter queue.
  dynamic "statement" {
    for_each = contains(["inbox", "dead"], each.key) && length(aws_cloudwatch_event_rule.this) > 0 ? [1] : []
    content {
      sid       = "SendFromOwnRules"
      actions   = ["sqs:SendMessage"]
      resources = [each.value.arn]
      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [for rule in aws_cloudwatch_event_rule.this : rule.arn]
      }
    }
  }

  # The function believes what is in its queues as far as their senders are trusted. A principal of the account with
  # sqs:SendMessage for all queues has no part in that. A service has no aws:PrincipalArn, and a condition on a missing key is met,
  # so services are denied too, except where the statement above admits one.
  dynamic "statement" {
    for_each = contains(keys(var.senders), each.key) ? [var.senders[each.key]] : []
    content {
      sid       = "DenyOtherSenders"
      effect    = "Deny"
      actions   = ["sqs:SendMessage"]
      resources = [each.value.arn]
      principals {
        type        = "*"
        identifiers = ["*"]
      }
      condition {
        test     = "ArnNotLike"
        variable = "aws:PrincipalArn"
        values   = statement.value
      }
      dynamic "condition" {
        for_each = contains(["inbox", "dead"], each.key) ? [1] : []
        content {
          test     = "Bool"
          variable = "aws:PrincipalIsAWSService"
          values   = ["false"]
        }
      }
    }
  }

  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.all_queues

  queue_url = each.value.id
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  count = local.has_inbox ? 1 : 0

  alarm_name          = "${var.name_prefix}-dead-letters-${var.name}"
  alarm_description   = "The dead-letter queue ${aws_sqs_queue.dead[0].name} of the function ${var.name} contains messages.\n${var.runbook.line}"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead[0].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.dead_letter_topics
  ok_actions          = var.dead_letter_topics
  tags                = merge(var.tags, var.runbook.tags, { "hearth:severity" = "error", "hearth:route" = var.name })
}
