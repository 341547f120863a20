data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "ReadRoutingKey"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.pagerduty.arn]
  }
  statement {
    sid     = "DescribeAlarms"
    actions = ["cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"]
    # Both return composite alarms only to principals with permission for all alarms (CloudWatch API Reference).
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
      sid       = "DecryptWithKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}
