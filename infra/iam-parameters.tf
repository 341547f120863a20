data "aws_iam_policy_document" "parameters" {
  statement {
    sid     = "ReadWhatIsDeclared"
    actions = ["s3:GetObject"]
    resources = [
      "${module.warming.bucket_arn}/config/parameters.json",
      "${module.warming.bucket_arn}/sets/*/pointer.json",
      "${module.warming.bucket_arn}/sets/*/snapshots/*/manifest.json",
    ]
  }
  statement {
    sid     = "FindTheSets"
    actions = ["s3:ListBucket"]
    # Not narrowed to a prefix: it is also what makes S3 say 404 and not 403 about a pointer that is not there yet.
    resources = [module.warming.bucket_arn]
  }
  statement {
    sid       = "ReadTheTree"
    actions   = ["ssm:GetParametersByPath"]
    resources = flatten([for region in local.tree_regions : [local.tree_arns[region], "${local.tree_arns[region]}/*"]])
  }
  statement {
    sid       = "KeepTheTree"
    actions   = ["ssm:PutParameter", "ssm:DeleteParameters"]
    resources = [for region in local.tree_regions : "${local.tree_arns[region]}/*"]
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
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

locals {
  tree_regions = distinct(concat([local.region], var.replica_regions))
  tree_arns = {
    for region in local.tree_regions : region => "arn:${local.partition}:ssm:${region}:${local.account}:parameter/${var.name_prefix}"
  }
}
