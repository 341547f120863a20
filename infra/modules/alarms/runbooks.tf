locals {
  dashboard      = "${var.name_prefix}-fleet-${var.region_code}"
  dashboards_url = "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards/dashboard/"
  dashboard_url  = "${local.dashboards_url}${local.dashboard}"

  kinds = toset(concat(["dead-letters"], values(local.alarms)[*].runbook))

  # A tag must not contain #, which is part of the dashboard's URL. A description may.
  runbooks = {
    for kind in local.kinds : kind => {
      tags = var.runbooks_url == null ? {} : { "hearth:runbook" = "${var.runbooks_url}/${kind}.md" }
      line = "runbook: ${var.runbooks_url == null ? local.dashboard_url : "${var.runbooks_url}/${kind}.md"}"
    }
  }
}
