data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "ReadTheRoutingKey"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.pagerduty.arn]
  }
  statement {
    sid     = "LookAtAlarms"
    actions = ["cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"]
    # CloudWatch tells of composite alarms only those who may look at all alarms.
    resources = ["*"]
  }
  statement {
    sid       = "ReadAlarmTags"
    actions   = ["cloudwatch:ListTagsForResource"]
    resources = ["arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name_prefix}-*"]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}
