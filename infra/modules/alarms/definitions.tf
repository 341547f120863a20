# Every alarm in one shape. A fleet that scales to zero says nothing: missing data is no breach, unless an alarm says so.
# The age of a snapshot is measured every five minutes whatever the fleet does: there silence is what to worry about.

locals {
  per_group = merge([for id, group in var.groups : {
    for kind, alarm in {
      launch-failures = { metric = "LaunchFailures", dimensions = { Group = id }, statistic = "Sum", threshold = var.thresholds.launch_failures, period = 900, severity = "critical", says = "Runners of ${id} cannot boot" }
      slow-boots      = { metric = "RunnerBootSeconds", dimensions = { Group = id }, statistic = "p90", threshold = var.thresholds.boot_seconds, period = 900, severity = "warning", says = "Runners of ${id} boot slowly" }
      slow-restores   = { metric = "RestoreSeconds", dimensions = { Group = id }, statistic = "p90", threshold = var.thresholds.restore_seconds, period = 900, severity = "warning", says = "Snapshots are restored slowly on ${id}" }
      cold-boots      = { metric = "RestoreSeconds", dimensions = { Group = id, Outcome = "cold" }, statistic = "SampleCount", threshold = 0, period = 900, severity = "warning", says = "Runners of ${id} boot without the snapshot that they should have", only = group.boots_set != null }
      long-drains     = { metric = "DrainSeconds", dimensions = { Group = id }, statistic = "Maximum", threshold = var.thresholds.drain_seconds, period = 3600, severity = "warning", says = "Runners of ${id} take long to finish their last job, near the end of what a drain may take" }
      backlog         = { metric = "BacklogJobs", dimensions = { Group = id }, statistic = "Minimum", threshold = 0, period = 60, periods = var.thresholds.backlog_minutes, severity = "error", says = "Jobs of ${id} wait for a runner" }
    } : "${kind}-${replace(id, "/", "-")}" => merge({ periods = 1, missing = "notBreaching", only = true, runbook = kind, namespace = "Hearth", route = id, enabled = group.actions_enabled }, alarm)
    if try(alarm.only, true)
  }]...)

  per_set = merge([for set, about in var.sets : {
    for kind, alarm in {
      old-snapshot        = { metric = "SnapshotAgeSeconds", statistic = "Maximum", threshold = var.thresholds.snapshot_age_hours * 3600, period = 900, periods = 4, missing = "breaching", severity = "error", says = "The current snapshot of ${set} is old, or nothing is known of one" }
      large-snapshot      = { metric = "SnapshotBytes", statistic = "Maximum", threshold = var.thresholds.snapshot_gb * 1000000000, period = 3600, severity = "warning", says = "The snapshot of ${set} has grown large" }
      slow-warming-runs   = { metric = "WarmingRunSeconds", statistic = "Maximum", threshold = about.deadline_minutes * 60 * 0.8, period = 3600, severity = "warning", says = "Warming runs of ${set} come near their deadline" }
      failed-warming-runs = { metric = "WarmingRunFailures", statistic = "Sum", threshold = 0, period = 3600, severity = "error", says = "A warming run of ${set} failed" }
    } : "${kind}-${set}" => merge({ periods = 1, missing = "notBreaching", runbook = kind, namespace = "Hearth", dimensions = { Set = set }, route = "warming", enabled = true }, alarm)
  }]...)

  per_deployment = {
    for kind, alarm in {
      unsent-incidents = { metric = "IncidentsUnsent", threshold = 0, period = 300, severity = "error", says = "Incidents could not be sent to PagerDuty" }
      many-incidents   = { metric = "IncidentsSent", threshold = 100, period = 3600, severity = "warning", says = "PagerDuty gets an unusual number of incidents" }
      parameter-drift  = { metric = "ParameterDrift", threshold = 0, period = 300, severity = "info", says = "Somebody edited the parameter tree by hand; it was set back" }
    } : kind => merge({ periods = 1, missing = "notBreaching", runbook = kind, namespace = "Hearth", statistic = "Sum", dimensions = {}, route = "default", enabled = true }, alarm)
  }

  per_function = merge([for name, about in var.functions : merge(
    {
      "function-errors-${name}"    = { metric = "Errors", namespace = "AWS/Lambda", dimensions = { FunctionName = "${var.name_prefix}_${name}" }, statistic = "Sum", threshold = 0, period = 300, periods = 3, runbook = "function-errors", severity = "error", says = "The function ${name} fails as a whole", route = name, enabled = true }
      "function-throttles-${name}" = { metric = "Throttles", namespace = "AWS/Lambda", dimensions = { FunctionName = "${var.name_prefix}_${name}" }, statistic = "Sum", threshold = 0, period = 300, periods = 3, runbook = "function-throttles", severity = "warning", says = "The function ${name} is throttled: the account runs out of concurrent executions", route = name, enabled = true }
    },
    { for queue in about.queues : "old-messages-${queue}" => { metric = "ApproximateAgeOfOldestMessage", namespace = "AWS/SQS", dimensions = { QueueName = queue }, statistic = "Maximum", threshold = 900, period = 300, periods = 3, runbook = "old-messages", severity = name == "lifecycle" ? "critical" : "error", says = "Messages wait long in ${queue}", route = name, enabled = true } },
  )]...)

  # Through lists, since the kinds do not all say the same.
  alarms = { for name, alarm in merge(local.per_group, local.per_set, local.per_deployment, local.per_function) : name => {
    metric     = alarm.metric
    namespace  = alarm.namespace
    dimensions = { for key, value in alarm.dimensions : key => value }
    statistic  = alarm.statistic
    threshold  = alarm.threshold
    period     = alarm.period
    periods    = alarm.periods
    missing    = try(alarm.missing, "notBreaching")
    severity   = alarm.severity
    runbook    = alarm.runbook
    route      = alarm.route
    says       = alarm.says
    enabled    = alarm.enabled
    # These tell that paging itself is broken, so they must not depend on it.
    by_topic = alarm.route == "alarms" || name == "unsent-incidents"
  } }
}
