data "aws_iam_policy_document" "lifecycle" {
  statement {
    sid = "ActOnOwnGroups"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:TerminateInstanceInAutoScalingGroup",
    ]
    resources = [local.groups_arn]
  }
  statement {
    sid     = "LookAtGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"]
    # Auto Scaling has no resource-level permissions for what only describes.
    resources = ["*"]
  }
  statement {
    sid       = "TellTheBus"
    actions   = ["events:PutEvents"]
    resources = ["arn:${local.partition}:events:${local.region}:${local.account}:event-bus/default"]
    condition {
      test     = "StringEquals"
      variable = "events:source"
      values   = ["aw.lifecycle"]
    }
  }
}

locals {
  # The first star stands for an id that AWS chooses.
  groups_arn = "arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name_prefix}-*"
}
