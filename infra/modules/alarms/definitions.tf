# All alarms, in one format. A fleet that scales to zero emits no metrics, so missing data is not breaching by default. The
# function warming emits SnapshotAgeSeconds every five minutes, so for this metric missing data is breaching.

locals {
  per_group = merge([for id, group in var.groups : {
    for kind, alarm in {
      launch-failures = { metric = "LaunchFailures", dimensions = { Group = id }, statistic = "Sum", threshold = var.thresholds.launch_failures, period = 900, severity = "critical", summary = "Runners of ${id} fail to boot" }
      slow-boots      = { metric = "RunnerBootSeconds", dimensions = { Group = id }, statistic = "p90", threshold = var.thresholds.boot_seconds, period = 900, severity = "warning", summary = "Runners of ${id} boot slowly" }
      slow-restores   = { metric = "RestoreSeconds", dimensions = { Group = id }, statistic = "p90", threshold = var.thresholds.restore_seconds, period = 900, severity = "warning", summary = "Runners of ${id} restore snapshots slowly" }
      cold-boots      = { metric = "RestoreSeconds", dimensions = { Group = id, Outcome = "cold" }, statistic = "SampleCount", threshold = 0, period = 900, severity = "warning", summary = "Runners of ${id} boot without a snapshot", only = group.boots_set != null }
      long-drains     = { metric = "DrainSeconds", dimensions = { Group = id }, statistic = "Maximum", threshold = var.thresholds.drain_seconds, period = 3600, severity = "warning", summary = "Runners of ${id} drain for longer than the threshold; a drain that reaches its limit ends the running job" }
      drain-limit     = { metric = "DrainingSeconds", dimensions = { Group = id }, statistic = "Maximum", threshold = 169200, period = 300, severity = "critical", summary = "A runner of ${id} drains for more than 47 hours; at 48 hours Auto Scaling ends it together with its job" }
      # One runner can break. Four in an hour have a common cause, and each replacement costs jobs their place.
      unhealthy-runners = { metric = "UnhealthyRunners", dimensions = { Group = id }, statistic = "Sum", threshold = 3, period = 3600, severity = "error", summary = "More than three runners of ${id} were replaced because of a fault", only = group.takes_jobs }
      held-runners      = { metric = "HeldRunners", dimensions = { Group = id }, statistic = "Sum", threshold = 0, period = 3600, severity = "error", summary = "Runners of ${id} report faults and are not replaced, because too many of the group were within an hour", only = group.takes_jobs }
      silent-runners    = { metric = "RunnersReplaced", dimensions = { Group = id, Cause = "no-agent" }, statistic = "Sum", threshold = 2, period = 3600, severity = "error", summary = "Runners of ${id} come into service and never ask for a registration", only = group.takes_jobs }
      overdue-repairs   = { metric = "RepairDueSeconds", dimensions = { Group = id }, statistic = "Maximum", threshold = 21600, period = 900, severity = "warning", summary = "A runner of ${id} is to be replaced for more than six hours", only = group.takes_jobs }
      old-agents        = { metric = "OldAgents", dimensions = { Group = id }, statistic = "Sum", threshold = 0, period = 3600, severity = "error", summary = "The CI provider refuses the agent of ${id} for its age", only = group.takes_jobs }
      # The function registration counts instances that had no agent in two sweeps in a row, which are five minutes apart.
      missing-agents       = { metric = "InstancesWithoutAgent", dimensions = { Group = id }, statistic = "Maximum", threshold = 0, period = 300, severity = "error", summary = "Runners of ${id} are in service without an agent for more than five minutes", only = group.takes_jobs }
      excess-registrations = { metric = "ExcessRegistrations", dimensions = { Group = id }, statistic = "Maximum", threshold = 0, period = 300, periods = 2, severity = "error", summary = "A runner of ${id} has more than one live registration", only = group.takes_jobs }
      failed-registrations = { metric = "RegistrationFailures", dimensions = { Group = id }, statistic = "Sum", threshold = 0, period = 300, periods = 3, severity = "error", summary = "Runners of ${id} get no registrations", only = group.takes_jobs }
      unused-registrations = { metric = "RegistrationsWithoutJob", dimensions = { Group = id }, statistic = "Sum", threshold = var.thresholds.unused_registrations, period = 3600, severity = "warning", summary = "Many agents of ${id} end without a job", only = group.takes_jobs }
      unmatched-jobs       = { metric = "UnmatchedJobs", dimensions = { Group = id }, statistic = "Minimum", threshold = 0, period = 300, periods = 2, severity = "error", summary = "Jobs wait beside idle runners of ${id} that do not get them", only = group.takes_jobs }
      old-jobs             = { metric = "OldestJobSeconds", dimensions = { Group = id }, statistic = "Minimum", threshold = var.thresholds.oldest_job_seconds, period = 60, periods = 3, severity = "error", summary = "A job of ${id} waits for a runner for too long", only = group.takes_jobs }
      cache-failures       = { metric = "CacheFailures", dimensions = { Group = id }, statistic = "Sum", threshold = var.thresholds.cache_failures, period = 900, severity = "warning", summary = "S3 refuses or does not answer the build cache of ${id}", only = group.has_cache }
      backlog              = { metric = "BacklogJobs", dimensions = { Group = id }, statistic = "Minimum", threshold = 0, period = 60, periods = var.thresholds.backlog_minutes, severity = "error", summary = "Jobs of ${id} wait for a runner" }
    } : "${kind}-${replace(id, "/", "-")}" => merge({ periods = 1, missing = "notBreaching", only = true, runbook = kind, namespace = "Hearth", route = id, enabled = group.actions_enabled }, alarm)
    if try(alarm.only, true)
  }]...)

  per_set = merge([for set, settings in var.sets : {
    for kind, alarm in {
      old-snapshot        = { metric = "SnapshotAgeSeconds", statistic = "Maximum", threshold = var.thresholds.snapshot_age_hours * 3600, period = 900, periods = 4, missing = "breaching", severity = "error", summary = "The current snapshot of ${set} is too old, or its age is unknown" }
      large-snapshot      = { metric = "SnapshotBytes", statistic = "Maximum", threshold = var.thresholds.snapshot_gb * 1000000000, period = 3600, severity = "warning", summary = "The snapshot of ${set} is large" }
      slow-warming-runs   = { metric = "WarmingRunSeconds", statistic = "Maximum", threshold = settings.deadline_minutes * 60 * 0.8, period = 3600, severity = "warning", summary = "A warming run of ${set} took more than 80 % of its deadline" }
      failed-warming-runs = { metric = "WarmingRunFailures", statistic = "Sum", threshold = 0, period = 3600, severity = "error", summary = "A warming run of ${set} failed" }
      # A snapshot that was promoted cannot change by permission. If one did, someone has permissions that nobody should have, or S3 lost data.
      quarantined-snapshots = { metric = "QuarantinedSnapshots", statistic = "Sum", threshold = 0, period = 3600, severity = "error", summary = "A snapshot of ${set} that was in use is broken, replaced or deleted, and is quarantined" }
    } : "${kind}-${set}" => merge({ periods = 1, missing = "notBreaching", runbook = kind, namespace = "Hearth", dimensions = { Set = set }, route = "warming", enabled = true }, alarm)
  }]...)

  per_deployment = {
    for kind, alarm in {
      unsent-incidents        = { metric = "IncidentsUnsent", threshold = 0, period = 300, severity = "error", summary = "Incidents were not sent to PagerDuty, because the routing secret has no usable key" }
      many-incidents          = { metric = "IncidentsSent", threshold = 100, period = 3600, severity = "warning", summary = "The number of incidents sent to PagerDuty is unusually high" }
      agent-credentials       = { metric = "CredentialFailures", threshold = 0, period = 300, severity = "critical", summary = "A secret with credentials of a CI provider is empty, malformed or refused, so runners get no registrations" }
      throttled-registrations = { metric = "RegistrationsThrottled", threshold = 0, period = 300, periods = 3, severity = "warning", summary = "A CI provider's rate limit delays registrations" }
      dropped-reports         = { metric = "DroppedReports", threshold = 1000, period = 300, severity = "error", summary = "A runner sends far more reports than it should, and the function lifecycle drops them" }
      left-registrations      = { metric = "RegistrationsLeftBehind", threshold = 0, period = 300, periods = 6, statistic = "Maximum", severity = "warning", summary = "Terminated runners left registrations at a CI provider that were not removed for half an hour" }
      denied-requests         = { metric = "DeniedRequests", threshold = 0, period = 300, severity = "error", summary = "A principal that is not a runner asked the function registration for a registration" }
      # Each poll emits a value, so without one the function does not run.
      scaling-failures = { metric = "ScalingFailures", threshold = 0, period = 300, periods = 3, missing = "breaching", severity = "error", summary = "The function scaling cannot read a backlog or raise a capacity, or does not run" }
      parameter-drift  = { metric = "ParameterDrift", threshold = 0, period = 300, severity = "info", summary = "The parameter tree was edited by hand, and the edit was reverted" }
    } : kind => merge({ periods = 1, missing = "notBreaching", runbook = kind, namespace = "Hearth", statistic = "Sum", dimensions = {}, route = "default", enabled = true }, alarm)
  }

  per_function = merge([for name, settings in var.functions : merge(
    {
      "function-errors-${name}" = { metric = "Errors", namespace = "AWS/Lambda", dimensions = { FunctionName = "${var.name_prefix}_${name}" }, statistic = "Sum", threshold = 0, period = 300, periods = 3, runbook = "function-errors", severity = "error", summary = "Invocations of the function ${name} fail", route = name, enabled = true }
    },
    { for kind in settings.throttles ? ["function-throttles"] : [] : "${kind}-${name}" => { metric = "Throttles", namespace = "AWS/Lambda", dimensions = { FunctionName = "${var.name_prefix}_${name}" }, statistic = "Sum", threshold = 0, period = 300, periods = 3, runbook = kind, severity = "warning", summary = "Lambda throttles the function ${name}", route = name, enabled = true } },
    { for queue in settings.queues : "old-messages-${queue}" => { metric = "ApproximateAgeOfOldestMessage", namespace = "AWS/SQS", dimensions = { QueueName = queue }, statistic = "Maximum", threshold = 900, period = 300, periods = 3, runbook = "old-messages", severity = name == "lifecycle" ? "critical" : "error", summary = "Messages wait for more than 15 minutes in ${queue}", route = name, enabled = true } },
  )]...)

  # One object type for all alarms. The maps above differ in their attributes, and Terraform cannot merge their types.
  alarms = { for name, alarm in merge(local.per_group, local.per_set, local.per_deployment, local.per_function) : name => {
    metric    = alarm.metric
    namespace = alarm.namespace
    # Two deployments of one account can have groups of one name.
    dimensions = merge({ for key, value in alarm.dimensions : key => value }, alarm.namespace == "Hearth" ? { Deployment = var.name_prefix } : {})
    statistic  = alarm.statistic
    threshold  = alarm.threshold
    period     = alarm.period
    periods    = alarm.periods
    missing    = try(alarm.missing, "notBreaching")
    severity   = alarm.severity
    runbook    = alarm.runbook
    route      = alarm.route
    summary    = alarm.summary
    enabled    = alarm.enabled
    # These alarms report broken paging, so they use the SNS topic in addition to PagerDuty.
    by_topic = alarm.route == "alarms" || name == "unsent-incidents"
  } }
}
