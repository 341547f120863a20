# Reads backlogs with the credentials of the CI providers, and changes nothing there.

data "aws_iam_policy_document" "scaling" {
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
    sid     = "ReadGroupsAndRecords"
    actions = ["s3:GetObject"]
    resources = [
      "${module.warming.bucket_arn}/config/groups.json",
      # Whether an idle instance has a registration.
      "${module.warming.bucket_arn}/registrations/*",
    ]
  }
  statement {
    sid     = "ManageBacklogAndBudgets"
    actions = ["s3:GetObject", "s3:PutObject"]
    resources = [
      "${module.warming.bucket_arn}/backlog/*",
      # Polls and registrations use one budget per installation.
      "${module.warming.bucket_arn}/registrations/budgets/*",
    ]
  }
  statement {
    sid     = "ListRecords"
    actions = ["s3:ListBucket"]
    # No prefix condition: with this permission S3 answers 404 instead of 403 for a record that does not exist yet.
    resources = [module.warming.bucket_arn]
  }
  statement {
    sid       = "SetDesiredCapacity"
    actions   = ["autoscaling:SetDesiredCapacity"]
    resources = [local.groups_arn]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:deployment"
      values   = [var.name_prefix]
    }
    # The function warming scales the warming groups.
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:writes-snapshots"
      values   = ["false"]
    }
  }
  statement {
    sid     = "DescribeGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities"]
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
