# Alarms go to PagerDuty through the function `alarms`, which hears of every one whose name begins with the prefix. They
# need no action of their own; an alarm whose actions are disabled is muted there. Those about that function itself, and
# about incidents that it could not send, go to a topic as well.

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = "${each.value.says}.\n${local.runbooks[each.value.runbook].line}"
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
