# The inputs with attributes, with types and defaults. Terraform drops attributes that a type does not have, so the root module
# declares these inputs without a type, and checks-names.tf compares both forms.
#
# Attributes can be unknown in the plan. try() and can() of such an object are unknown as a whole, and then groups would be too.
# So only keys() of an object are used, and contains() comes before them.

module "inputs" {
  source = "./modules/inputs"

  warming_sets      = var.warming_sets
  resource_types    = { for name, type in var.resource_types : name => merge(local.placeholder_type, type, { for key, value in local.placeholder_type : key => type[key] == null ? value : type[key] if contains(keys(type), key) }) }
  gha_runner_groups = local.present_groups.gha
  cci_runner_groups = local.present_groups.cci
  bk_runner_groups  = local.present_groups.bk
  agents            = var.agents
  support           = var.support
  alarm_thresholds  = var.alarm_thresholds
  bundles           = var.bundles
  access_logs       = var.access_logs
  build_cache       = var.build_cache
}

locals {
  # Values in place of required attributes that are missing. checks-names.tf refuses these groups, together with what else is
  # wrong. Without the values, Terraform would report the first missing attribute and nothing else.
  placeholders = {
    for host, more in { gha = { queue = "-", gh_repo = "-/-" }, cci = {}, bk = { queue = "-" } } : host => merge(
      { max_runners = 1, resource_type = try(keys(var.resource_types)[0], "") }, more,
    )
  }

  placeholder_type = { image_id = "" }

  # Older forms of attributes, in their present form. A value that is neither stays, so that its type is refused.
  present_groups = {
    for host, groups in { gha = var.gha_runner_groups, cci = var.cci_runner_groups, bk = var.bk_runner_groups } : host => {
      for name, group in groups : name => merge(
        local.placeholders[host],
        group,
        { for key, value in local.placeholders[host] : key => group[key] == null ? value : group[key] if contains(keys(group), key) },
        # 5.10 to 5.14 have a list of alerts. Hearth mutes all alarms of a group, or none.
        { for key, value in group : key => try(tobool(value), length(tolist(value)) > 0, value) if key == "exclude_oncall_alerts" },
        # 5.7.0-rc5 has seconds.
        { for key, value in group : "agent_idle_timeout_min" => try(max(1, ceil(value / 60)), value) if key == "agent_idle_timeout" && !contains(keys(group), "agent_idle_timeout_min") },
      )
    }
  }
  older_attributes = ["agent_idle_timeout"]
}
