data "aws_iam_policy_document" "lifecycle" {
  statement {
    sid = "CompleteHooksAndTerminate"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:TerminateInstanceInAutoScalingGroup",
    ]
    resources = [local.groups_arn]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/hearth:deployment"
      values   = [var.name_prefix]
    }
  }
  statement {
    sid     = "DescribeGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"]
    # Auto Scaling has no resource-level permissions for Describe actions.
    resources = ["*"]
  }
  statement {
    sid     = "ReadGroupsAndSweep"
    actions = ["s3:GetObject"]
    resources = [
      "${module.warming.bucket_arn}/config/groups.json",
      # Which instances have no registration.
      "${module.warming.bucket_arn}/registrations/sweep.json",
    ]
  }
  statement {
    sid       = "ManageGroupRecords"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${module.warming.bucket_arn}/lifecycle/*"]
  }
  statement {
    sid     = "ListRecords"
    actions = ["s3:ListBucket"]
    # No prefix condition: with this permission S3 answers 404 instead of 403 for a record that does not exist yet.
    resources = [module.warming.bucket_arn]
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
  statement {
    sid       = "PutReports"
    actions   = ["events:PutEvents"]
    resources = [aws_cloudwatch_event_bus.reports.arn]
    # A call has several events, so the key has several values, and only an operator for sets compares all of them (Service
    # Authorization Reference: ArrayOfString). That operator accepts a call without the key.
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "events:source"
      values   = ["${var.name_prefix}.lifecycle"]
    }
    condition {
      test     = "Null"
      variable = "events:source"
      values   = ["false"]
    }
  }
}

locals {
  # All groups of the deployment in one pattern, so that a policy has one size for any number of groups. A name_prefix has no hyphen, so
  # no other deployment has such names. A tag of the group in addition leaves out groups that are not of Hearth; no role of the
  # module may change tags. All actions below support both (Service Authorization Reference, "Amazon EC2 Auto Scaling").
  # The first star matches the id that AWS assigns.
  groups_arn = "arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name_prefix}-*"
}
