data "aws_iam_policy_document" "warming" {
  statement {
    sid       = "ManageSnapshots"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${module.warming.bucket_arn}/sets/*"]
  }
  statement {
    sid     = "ListSnapshots"
    actions = ["s3:ListBucket"]
    # No prefix condition: with this permission S3 answers 404 instead of 403 for a pointer that does not exist yet.
    resources = [module.warming.bucket_arn]
  }
  statement {
    sid       = "ScaleWarmingGroups"
    actions   = ["autoscaling:SetDesiredCapacity"]
    resources = [local.groups_arn]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:deployment"
      values   = [var.name_prefix]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:writes-snapshots"
      values   = ["true"]
    }
  }
  statement {
    sid     = "DescribeGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups"]
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
        values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}
