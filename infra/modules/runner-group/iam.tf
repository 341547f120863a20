# Permissions of a runner. A job that reaches the metadata service has them too (a job with root can), so there is no secret among them.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.role_name
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags
}

resource "aws_iam_instance_profile" "this" {
  name = var.role_name
  role = aws_iam_role.this.name
  tags = local.tags
}

data "aws_iam_policy_document" "this" {
  statement {
    sid     = "ReadOwnSetAndTools"
    actions = ["s3:GetObject"]
    resources = concat(
      ["${var.bucket_arn}/tools/*"],
      var.boots_set == null ? [] : [
        "${var.bucket_arn}/sets/${var.boots_set}/pointer.json",
        "${var.bucket_arn}/sets/${var.boots_set}/snapshots/*",
        "${var.bucket_arn}/sets/${var.boots_set}/frames/*",
      ],
    )
  }
  # A read group has no permission to write, so that what its jobs claim reaches no other instance, whatever aw-runner does.
  dynamic "statement" {
    for_each = var.cache[*]
    content {
      sid     = "ReadBuildCache"
      actions = ["s3:GetObject"]
      resources = flatten([for scope in concat([statement.value.scope], statement.value.reads) : [
        "${var.bucket_arn}/cache/${scope}/*",
        "${var.bucket_arn}/config/cache/${scope}.json",
      ]])
    }
  }
  dynamic "statement" {
    for_each = [for cache in var.cache[*] : cache if cache.mode == "write"]
    content {
      sid       = "WriteBuildCache"
      actions   = ["s3:PutObject"]
      resources = ["${var.bucket_arn}/cache/${statement.value.scope}/*"]
    }
  }
  dynamic "statement" {
    for_each = var.boots_set != null || var.cache != null ? [1] : []
    content {
      sid     = "ListBucketForNotFound"
      actions = ["s3:ListBucket"]
      # The permission exposes object names only. No prefix condition: with this permission S3 answers 404 instead of 403 for
      # an object that does not exist, and a missing snapshot or cache entry is no failure.
      resources = [var.bucket_arn]
    }
  }
  # Only through the URL. A direct Invoke would let the caller write the identity that the function takes from the request.
  dynamic "statement" {
    for_each = var.registration[*]
    content {
      sid       = "RequestRegistrations"
      actions   = ["lambda:InvokeFunctionUrl"]
      resources = [statement.value.arn]
    }
  }
  dynamic "statement" {
    for_each = var.registration[*]
    content {
      # Lambda requires both permissions for a URL (Lambda Developer Guide, "Control access to Lambda function URLs").
      sid       = "InvokeThroughUrlOnly"
      actions   = ["lambda:InvokeFunction"]
      resources = [statement.value.arn]
      condition {
        test     = "Bool"
        variable = "lambda:InvokedViaFunctionUrl"
        values   = ["true"]
      }
    }
  }
  statement {
    sid       = "SendReports"
    actions   = ["sqs:SendMessage"]
    resources = [var.reports.arn]
  }
  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:log-stream:${var.name}/*"]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      # SQS encrypts a report in the name of its sender.
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}", "sqs.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
  dynamic "statement" {
    for_each = var.enable_ssm_access ? [1] : []
    content {
      sid = "RunSessionManagerAgent"
      actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      # ssmmessages has no resource-level permissions. UpdateInstanceInformation has none for EC2 instances.
      resources = ["*"]
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "runner"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_iam_role_policy_attachment" "further" {
  for_each = var.policies

  role       = aws_iam_role.this.name
  policy_arn = each.value
}
