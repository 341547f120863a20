locals {
  # A widget has at most 500 metrics and a dashboard 2,500 (CloudWatch User Guide, "CloudWatch service quotas"; not adjustable). A group has up to
  # 27 of them, four in one widget, and a set has five, so a page has room for 80 groups, 40 sets and the rest.
  groups_of_pages = chunklist(keys(var.groups), 80)
  sets_of_pages   = chunklist(keys(var.sets), 40)
  pages = [for index in range(max(1, length(local.groups_of_pages), length(local.sets_of_pages))) : {
    index     = index
    groups    = try(local.groups_of_pages[index], [])
    sets      = try(local.sets_of_pages[index], [])
    functions = index == 0 ? values(var.functions) : []
    # Groups without agents have no registrations.
    with_agents = [for id in try(local.groups_of_pages[index], []) : id if var.groups[id].takes_jobs]
    with_cache  = [for id in try(local.groups_of_pages[index], []) : id if var.groups[id].has_cache]
  }]
  dashboards = [for page in local.pages : page.index == 0 ? local.dashboard : "${local.dashboard}-${page.index + 1}"]

  graphs = [for page in local.pages : [
    { title = "Boot time (p90)", stat = "p90", metrics = [for id in page.groups : ["Hearth", "RunnerBootSeconds", "Group", id]] },
    { title = "Restore time (p90)", stat = "p90", metrics = [for id in page.groups : ["Hearth", "RestoreSeconds", "Group", id]] },
    { title = "Drain time (maximum)", stat = "Maximum", metrics = [for id in page.groups : ["Hearth", "DrainSeconds", "Group", id]] },
    { title = "Failed boots", stat = "Sum", metrics = [for id in page.groups : ["Hearth", "LaunchFailures", "Group", id]] },
    { title = "Present drains (seconds, maximum)", stat = "Maximum", metrics = [for id in page.groups : ["Hearth", "DrainingSeconds", "Group", id]] },
    { title = "Runners without an agent", stat = "Maximum", metrics = [for id in page.with_agents : ["Hearth", "InstancesWithoutAgent", "Group", id]] },
    { title = "Runners with more than one registration", stat = "Maximum", metrics = [for id in page.with_agents : ["Hearth", "ExcessRegistrations", "Group", id]] },
    { title = "Failed registrations", stat = "Sum", metrics = [for id in page.with_agents : ["Hearth", "RegistrationFailures", "Group", id]] },
    { title = "Registrations without a job", stat = "Sum", metrics = [for id in page.with_agents : ["Hearth", "RegistrationsWithoutJob", "Group", id]] },
    { title = "Runners replaced because of a fault", stat = "Sum", metrics = [for id in page.with_agents : ["Hearth", "UnhealthyRunners", "Group", id]] },
    { title = "Runners with a fault that are not replaced yet", stat = "Sum", metrics = [for id in page.with_agents : ["Hearth", "HeldRunners", "Group", id]] },
    { title = "Runners replaced without a report", stat = "Sum", metrics = flatten([for id in page.with_agents : [for cause in ["unhealthy", "no-agent", "lifetime", "outdated"] : { row = ["Hearth", "RunnersReplaced", "Group", id, "Cause", cause] }]])[*].row },
    { title = "Oldest runner to be replaced (seconds)", stat = "Maximum", metrics = [for id in page.with_agents : ["Hearth", "RepairDueSeconds", "Group", id]] },
    { title = "Dropped reports", stat = "Sum", metrics = [for row in [["Hearth", "DroppedReports"]] : row if page.index == 0] },
    { title = "Agents refused for their age", stat = "Sum", metrics = [for id in page.with_agents : ["Hearth", "OldAgents", "Group", id]] },
    { title = "Registrations left behind", stat = "Maximum", metrics = [for row in [["Hearth", "RegistrationsLeftBehind"]] : row if page.index == 0] },
    { title = "Credential failures, throttled and denied requests", stat = "Sum", metrics = [for row in [["Hearth", "CredentialFailures"], ["Hearth", "RegistrationsThrottled"], ["Hearth", "DeniedRequests"]] : row if page.index == 0] },
    { title = "Queued jobs", stat = "Maximum", metrics = [for id in page.groups : ["Hearth", "BacklogJobs", "Group", id]] },
    { title = "Oldest queued job (seconds)", stat = "Maximum", metrics = [for id in page.with_agents : ["Hearth", "OldestJobSeconds", "Group", id]] },
    { title = "Jobs that idle runners do not get", stat = "Maximum", metrics = [for id in page.with_agents : ["Hearth", "UnmatchedJobs", "Group", id]] },
    { title = "Failures of scaling", stat = "Sum", metrics = [for row in [["Hearth", "ScalingFailures"]] : row if page.index == 0] },
    { title = "Runners in service", stat = "Maximum", metrics = [for id in page.groups : ["AWS/AutoScaling", "GroupInServiceInstances", "AutoScalingGroupName", "${var.name_prefix}-${replace(id, "/", "-")}"]] },
    { title = "Build cache: hits and misses", stat = "Sum", metrics = flatten([for id in page.with_cache : [for name in ["CacheHits", "CacheMisses"] : { row = ["Hearth", name, "Group", id] }]])[*].row },
    { title = "Build cache: bytes served and stored", stat = "Sum", metrics = flatten([for id in page.with_cache : [for name in ["CacheServedBytes", "CacheStoredBytes"] : { row = ["Hearth", name, "Group", id] }]])[*].row },
    { title = "Build cache: dropped uploads and failures of S3", stat = "Sum", metrics = flatten([for id in page.with_cache : [for name in ["CacheDroppedUploads", "CacheFailures"] : { row = ["Hearth", name, "Group", id] }]])[*].row },
    { title = "Snapshot age", stat = "Maximum", metrics = [for set in page.sets : ["Hearth", "SnapshotAgeSeconds", "Set", set]] },
    { title = "Snapshot size", stat = "Maximum", metrics = [for set in page.sets : ["Hearth", "SnapshotBytes", "Set", set]] },
    { title = "Warming run time", stat = "Maximum", metrics = [for set in page.sets : ["Hearth", "WarmingRunSeconds", "Set", set]] },
    { title = "Failed warming runs and quarantined snapshots", stat = "Sum", metrics = flatten([for set in page.sets : [for name in ["WarmingRunFailures", "QuarantinedSnapshots"] : { row = ["Hearth", name, "Set", set] }]])[*].row },
    { title = "Incidents sent and unsent", stat = "Sum", metrics = [for row in [["Hearth", "IncidentsSent"], ["Hearth", "IncidentsUnsent"]] : row if page.index == 0] },
    { title = "Parameter edits reverted", stat = "Sum", metrics = [for row in [["Hearth", "ParameterDrift"]] : row if page.index == 0] },
    { title = "Age of oldest message in inboxes (seconds)", stat = "Maximum", metrics = flatten([for settings in page.functions : [for queue in settings.queues : { row = ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue] }]])[*].row },
    { title = "Messages in dead-letter queues", stat = "Maximum", metrics = [for settings in page.functions : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", settings.dead] if settings.dead != null] },
  ]]
  # Each metric of Hearth has the dimension of its deployment in addition.
  shown = [for graphs in local.graphs : [for graph in graphs : merge(graph, {
    metrics = [for row in graph.metrics : row[0] == "Hearth" ? concat(slice(row, 0, 2), ["Deployment", var.name_prefix], slice(row, 2, length(row))) : row]
  }) if length(graph.metrics) > 0]]
}

resource "aws_cloudwatch_dashboard" "this" {
  count = length(local.pages)

  dashboard_name = local.dashboards[count.index]
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "text", x = 0, y = 0, width = 24, height = 4
        properties = { markdown = join("\n", concat(
          ["# ${local.dashboards[count.index]}", "The runbooks of the alarms are in docs/runbooks of the module, one page per kind of alarm: ${join(", ", local.kinds)}."],
          length(local.pages) == 1 ? [] : ["", "Runner groups in alphabetical order: ${join(", ", [for page in local.pages : "[${try(page.groups[0], "none")} and following](${local.dashboards_url}${local.dashboards[page.index]})"])}."],
        )) }
      }],
      [for index, graph in local.shown[count.index] : {
        type       = "metric", x = (index % 3) * 8, y = 4 + floor(index / 3) * 6, width = 8, height = 6
        properties = { title = graph.title, stat = graph.stat, period = 300, region = var.region, view = "timeSeries", metrics = graph.metrics }
      }],
    )
  })
}
