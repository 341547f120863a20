# The function alarms subscribes to the state changes of every alarm whose name begins with the prefix, and pages through
# PagerDuty. These alarms need no action. The function mutes an alarm whose actions are disabled. Alarms about the function
# itself, and about incidents that it could not send, also have the SNS topic as action.

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = "${each.value.summary}.\n${local.runbooks[each.value.runbook].line}"
  actions_enabled     = each.value.enabled
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = each.value.by_topic ? [aws_sns_topic.this.arn] : []
  ok_actions          = each.value.by_topic ? [aws_sns_topic.this.arn] : []
  tags = merge(var.tags, local.runbooks[each.value.runbook].tags, {
    "hearth:severity" = each.value.severity
    "hearth:route"    = each.value.route
  })
}
