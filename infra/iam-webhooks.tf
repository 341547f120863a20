# Answers the Internet. It reads keys of its own and the names of the declared groups, and sends to one queue.

data "aws_iam_policy_document" "webhooks" {
  dynamic "statement" {
    # Without the function there is no secret, and a statement needs a resource.
    for_each = length(aws_secretsmanager_secret.webhook) > 0 ? [1] : []
    content {
      sid       = "ReadWebhookSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [for secret in aws_secretsmanager_secret.webhook : secret.arn]
    }
  }
  statement {
    sid       = "ReadDeclaredGroups"
    actions   = ["s3:GetObject"]
    resources = ["${module.warming.bucket_arn}/config/groups.json"]
  }
  statement {
    sid       = "SendHints"
    actions   = ["sqs:SendMessage"]
    resources = ["arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name_prefix}-scaling-inbox"]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      sid       = "EncryptAndDecryptWithKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}", "secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}", "sqs.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}

locals {
  # Whether something else than its schedule invokes the function scaling.
  has_hints = var.enable_webhooks || var.buildkite_event_bus != null
}
