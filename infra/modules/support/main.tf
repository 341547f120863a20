# Policies for people. The support policy is read-only, except for SSM sessions where they are enabled.

data "aws_partition" "current" {}

locals {
  home = "${var.region}:${var.account}"
}

data "aws_iam_policy_document" "support" {
  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
    resources = ["arn:${var.partition}:ssm:${local.home}:parameter/${var.name_prefix}", "arn:${var.partition}:ssm:${local.home}:parameter/${var.name_prefix}/*"]
  }
  statement {
    sid = "DescribeFleet"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLifecycleHooks",
      "autoscaling:DescribeScalingActivities",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:GetMetricData",
      "ec2:DescribeInstances",
      "ec2:DescribeInstanceStatus",
    ]
    # DescribeAlarms returns composite alarms only to principals with permission for all alarms (CloudWatch API Reference). The
    # other actions have no resource-level permissions.
    resources = ["*"]
  }
  statement {
    sid     = "ReadFunctionLogs"
    actions = ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents", "logs:GetQueryResults", "logs:StartQuery"]
    resources = [
      "arn:${var.partition}:logs:${local.home}:log-group:${var.name_prefix}_*",
      "arn:${var.partition}:logs:${local.home}:log-group:${var.name_prefix}_*:*",
    ]
  }
  statement {
    sid     = "ListLogGroups"
    actions = ["logs:DescribeLogGroups"]
    # It lists the names of all log groups, and has no resource-level permissions.
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = var.enable_ssm_access ? [1] : []
    content {
      sid       = "StartSessionsOnRunners"
      actions   = ["ssm:StartSession"]
      resources = ["arn:${var.partition}:ec2:${local.home}:instance/*"]
      condition {
        test     = "StringLike"
        variable = "ssm:resourceTag/Name"
        values   = ["${var.name_prefix}-*"]
      }
      condition {
        test     = "StringEquals"
        variable = "ssm:resourceTag/created-by"
        values   = ["hearth"]
      }
      # A session is root. On an instance that makes a snapshot it could write what all runners of the set mount.
      condition {
        test     = "StringNotEquals"
        variable = "ssm:resourceTag/hearth:writes-snapshots"
        values   = ["true"]
      }
    }
  }
  dynamic "statement" {
    for_each = var.enable_ssm_access ? [1] : []
    content {
      sid     = "StartShellAndPortForwarding"
      actions = ["ssm:StartSession"]
      resources = [
        "arn:${var.partition}:ssm:${local.home}:document/SSM-SessionManagerRunShell",
        "arn:${var.partition}:ssm:${var.region}::document/AWS-StartPortForwardingSession",
      ]
    }
  }
  dynamic "statement" {
    for_each = var.enable_ssm_access ? [1] : []
    content {
      sid       = "EndOwnSessions"
      actions   = ["ssm:ResumeSession", "ssm:TerminateSession"]
      resources = ["arn:${var.partition}:ssm:*:${var.account}:session/$${aws:userid}-*"]
    }
  }
}

resource "aws_iam_policy" "support" {
  name        = "${var.name_prefix}-support-${var.region_code}"
  description = "Read access to the runners, their groups, parameters and logs."
  policy      = data.aws_iam_policy_document.support.json
  tags        = var.tags
}

data "aws_iam_policy_document" "operator" {
  statement {
    # All secrets of the deployment in one pattern: CircleCI has one per group.
    sid       = "WriteSecrets"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]
    resources = ["arn:${var.partition}:secretsmanager:${local.home}:secret:${var.name_prefix}_*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:deployment"
      values   = [var.name_prefix]
    }
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
        values   = [for service in concat(["secretsmanager", "sqs"], var.has_cache ? ["s3"] : []) : "${service}.${var.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
  statement {
    sid       = "RedriveDeadLetters"
    actions   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:StartMessageMoveTask", "sqs:CancelMessageMoveTask", "sqs:ListMessageMoveTasks"]
    resources = [for name in var.functions : "arn:${var.partition}:sqs:${local.home}:${var.name_prefix}-${name}-dead"]
  }
  statement {
    sid       = "SendToInboxes"
    actions   = ["sqs:SendMessage"]
    resources = [for name in var.functions : "arn:${var.partition}:sqs:${local.home}:${var.name_prefix}-${name}-inbox"]
  }
  dynamic "statement" {
    for_each = var.has_cache ? [1] : []
    content {
      sid       = "RevokeCacheScopes"
      actions   = ["s3:GetObject", "s3:PutObject"]
      resources = ["${var.bucket_arn}/config/cache/*.json"]
    }
  }
  dynamic "statement" {
    for_each = var.has_cache ? [1] : []
    content {
      # A scope that was never revoked has no such object. Without this permission, which exposes names only, S3 answers 403 for it.
      sid       = "ListBucketForNotFound"
      actions   = ["s3:ListBucket"]
      resources = [var.bucket_arn]
    }
  }
}

resource "aws_iam_policy" "operator" {
  name        = "${var.name_prefix}-operator-${var.region_code}"
  description = "Write secrets and redrive dead letters."
  policy      = data.aws_iam_policy_document.operator.json
  tags        = var.tags
}

resource "aws_iam_role_policy_attachment" "support" {
  count      = var.support_role_name == null ? 0 : 1
  role       = var.support_role_name
  policy_arn = aws_iam_policy.support.arn
}

resource "aws_iam_role_policy_attachment" "operator" {
  for_each = var.operator_role_name == null ? {} : { support = aws_iam_policy.support.arn, operator = aws_iam_policy.operator.arn }

  role       = var.operator_role_name
  policy_arn = each.value
}
