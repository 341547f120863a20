data "aws_iam_policy_document" "warming" {
  statement {
    sid       = "KeepSnapshots"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${module.warming.bucket_arn}/sets/*"]
  }
  statement {
    sid     = "ListSnapshots"
    actions = ["s3:ListBucket"]
    # Not narrowed to a prefix: it is also what makes S3 say 404 and not 403 about a pointer that is not there yet.
    resources = [module.warming.bucket_arn]
  }
  dynamic "statement" {
    for_each = length(local.running_sets) > 0 ? [1] : []
    content {
      sid     = "WakeWarmingGroups"
      actions = ["autoscaling:SetDesiredCapacity"]
      resources = [
        for id in values(local.running_sets) :
        "arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name_prefix}-${replace(id, "/", "-")}"
      ]
    }
  }
  statement {
    sid     = "LookAtGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups"]
    # Auto Scaling has no resource-level permissions for what only describes.
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}
