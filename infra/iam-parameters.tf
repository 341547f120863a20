data "aws_iam_policy_document" "parameters" {
  lifecycle {
    precondition {
      condition     = !contains(var.replica_regions, local.region)
      error_message = "replica_regions must not contain ${local.region}: it is the home region, which always has the parameter tree. Remove it."
    }
  }
  statement {
    sid     = "ReadDeclaredParameters"
    actions = ["s3:GetObject"]
    resources = [
      "${module.warming.bucket_arn}/config/parameters.json",
      "${module.warming.bucket_arn}/backlog/state.json",
      "${module.warming.bucket_arn}/sets/*/pointer.json",
      "${module.warming.bucket_arn}/sets/*/snapshots/*/manifest.json",
    ]
  }
  statement {
    sid     = "ListSets"
    actions = ["s3:ListBucket"]
    # No prefix condition: with this permission S3 answers 404 instead of 403 for a pointer that does not exist yet.
    resources = [module.warming.bucket_arn]
  }
  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParametersByPath"]
    resources = flatten([for region in local.tree_regions : [local.tree_arns[region], "${local.tree_arns[region]}/*"]])
  }
  statement {
    sid       = "WriteParameters"
    actions   = ["ssm:PutParameter", "ssm:DeleteParameters"]
    resources = [for region in local.tree_regions : "${local.tree_arns[region]}/*"]
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
      sid       = "DecryptWithKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}

locals {
  tree_regions = distinct(concat([local.region], var.replica_regions))
  tree_arns = {
    for region in local.tree_regions : region => "arn:${local.partition}:ssm:${region}:${local.account}:parameter/${var.name_prefix}"
  }
}
