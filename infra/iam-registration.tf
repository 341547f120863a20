# The only function that changes registrations at the CI providers, and the only one that instances call.

data "aws_iam_policy_document" "registration" {
  dynamic "statement" {
    # Without runner groups there is no secret, and a statement needs a resource.
    for_each = length(local.shared_agent_secrets) > 0 ? [1] : []
    content {
      sid       = "ReadAgentSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [for secret in local.shared_agent_secrets : aws_secretsmanager_secret.agent[secret].arn]
    }
  }
  dynamic "statement" {
    for_each = local.circleci_secrets_arn[*]
    content {
      sid       = "ReadSecretsOfCircleci"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/hearth:deployment"
        values   = [var.name_prefix]
      }
    }
  }
  statement {
    sid       = "ReadDeclaredGroups"
    actions   = ["s3:GetObject"]
    resources = ["${module.warming.bucket_arn}/config/groups.json"]
  }
  statement {
    sid = "ManageRecords"
    # One record per instance, and the budgets of the installations.
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${module.warming.bucket_arn}/registrations/*"]
  }
  statement {
    sid     = "ListRecords"
    actions = ["s3:ListBucket"]
    # No prefix condition: with this permission S3 answers 404 instead of 403 for a record that does not exist yet.
    resources = [module.warming.bucket_arn]
  }
  statement {
    sid     = "DescribeGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"]
    # Auto Scaling has no resource-level permissions for Describe actions.
    resources = ["*"]
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
        values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}", "secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}
