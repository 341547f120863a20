# The way out when paging itself is broken. Who reads it is up to you: subscribe an address or a chat to it.

# Not encrypted with the key that AWS manages for SNS: CloudWatch may not use that one, and would say nothing. What passes
# are names of alarms.
resource "aws_sns_topic" "this" {
  name = "${var.name_prefix}-alarms"
  tags = var.tags
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "OwnAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${var.partition}:cloudwatch:${var.region}:${var.account}:alarm:${var.name_prefix}-*"]
    }
  }
  statement {
    sid       = "TlsOnly"
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
