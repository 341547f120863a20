data "aws_iam_policy_document" "lifecycle" {
  statement {
    sid = "CompleteHooksAndTerminate"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:TerminateInstanceInAutoScalingGroup",
    ]
    resources = [local.groups_arn]
  }
  statement {
    sid     = "DescribeGroups"
    actions = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"]
    # Auto Scaling has no resource-level permissions for Describe actions.
    resources = ["*"]
  }
  statement {
    sid       = "PutReports"
    actions   = ["events:PutEvents"]
    resources = [aws_cloudwatch_event_bus.reports.arn]
    condition {
      test     = "StringEquals"
      variable = "events:source"
      values   = ["${var.name_prefix}.lifecycle"]
    }
  }
}

locals {
  # The first star matches the id that AWS assigns.
  groups_arn = "arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name_prefix}-*"
}
