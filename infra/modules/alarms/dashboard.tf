locals {
  graphs = [
    { title = "Boot (p90)", stat = "p90", metrics = [for id in keys(var.groups) : ["Hearth", "RunnerBootSeconds", "Group", id]] },
    { title = "Restore (p90)", stat = "p90", metrics = [for id in keys(var.groups) : ["Hearth", "RestoreSeconds", "Group", id]] },
    { title = "Drain (longest)", stat = "Maximum", metrics = [for id in keys(var.groups) : ["Hearth", "DrainSeconds", "Group", id]] },
    { title = "Failed boots", stat = "Sum", metrics = [for id in keys(var.groups) : ["Hearth", "LaunchFailures", "Group", id]] },
    { title = "Waiting jobs", stat = "Maximum", metrics = [for id in keys(var.groups) : ["Hearth", "BacklogJobs", "Group", id]] },
    { title = "Runners in service", stat = "Maximum", metrics = [for id in keys(var.groups) : ["AWS/AutoScaling", "GroupInServiceInstances", "AutoScalingGroupName", "${var.name_prefix}-${replace(id, "/", "-")}"]] },
    { title = "Age of snapshots", stat = "Maximum", metrics = [for set in keys(var.sets) : ["Hearth", "SnapshotAgeSeconds", "Set", set]] },
    { title = "Size of snapshots", stat = "Maximum", metrics = [for set in keys(var.sets) : ["Hearth", "SnapshotBytes", "Set", set]] },
    { title = "Warming runs", stat = "Maximum", metrics = [for set in keys(var.sets) : ["Hearth", "WarmingRunSeconds", "Set", set]] },
    { title = "Failed warming runs", stat = "Sum", metrics = [for set in keys(var.sets) : ["Hearth", "WarmingRunFailures", "Set", set]] },
    { title = "Incidents", stat = "Sum", metrics = [["Hearth", "IncidentsSent"], ["Hearth", "IncidentsUnsent"]] },
    { title = "Hand edits set back", stat = "Sum", metrics = [["Hearth", "ParameterDrift"]] },
    { title = "Waiting in inboxes (oldest, seconds)", stat = "Maximum", metrics = flatten([for about in values(var.functions) : [for queue in about.queues : { row = ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue] }]])[*].row },
    { title = "Dead letters", stat = "Maximum", metrics = [for name in keys(var.functions) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${var.name_prefix}-${name}-dead"]] },
  ]
  shown = [for graph in local.graphs : graph if length(graph.metrics) > 0]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.dashboard
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "text", x = 0, y = 0, width = 24, height = 4
        properties = { markdown = "# ${local.dashboard}\nWhat to do about an alarm is in docs/runbooks of the module, one page for each kind: ${join(", ", local.kinds)}." }
      }],
      [for index, graph in local.shown : {
        type       = "metric", x = (index % 3) * 8, y = 4 + floor(index / 3) * 6, width = 8, height = 6
        properties = { title = graph.title, stat = graph.stat, period = 300, region = var.region, view = "timeSeries", metrics = graph.metrics }
      }],
    )
  })
}
