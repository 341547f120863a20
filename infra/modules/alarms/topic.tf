# SNS topic for alarms about paging. Subscribe an e-mail address or a chat to it.

# No encryption with the AWS managed key of SNS: CloudWatch may not use that key, and delivery would fail without an error. The
# policy of a key of yours must allow it to CloudWatch. The messages contain alarm names and states only.
resource "aws_sns_topic" "this" {
  name              = "${var.name_prefix}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "PublishOwnAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      # By name: whoever may create an alarm can choose a name with the prefix. The first is that of modules/function.
      values = [for name in concat(["dead-letters-alarms"], [for name, alarm in local.alarms : name if alarm.by_topic]) : "arn:${var.partition}:cloudwatch:${var.region}:${var.account}:alarm:${var.name_prefix}-${name}"]
    }
  }
  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
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

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}
