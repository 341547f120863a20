# Runner groups of all hosts in one shape, by "<host>/<name>".

locals {
  stated_groups = merge(
    { for name, group in var.gha_runner_groups : "gha/${name}" => merge(group, { host = "gha", key = name }) },
    { for name, group in var.cci_runner_groups : "cci/${name}" => merge(group, { host = "cci", key = name }) },
    { for name, group in var.bk_runner_groups : "bk/${name}" => merge(group, { host = "bk", key = name }) },
  )

  # Underscores are usual in Terraform and not allowed in the names that follow from a group's.
  group_names = { for id, group in local.stated_groups : id => replace(lower(group.key), "_", "-") }

  warming_groups = [for id, group in local.stated_groups : id if contains(keys(group.policies), "warming_manage")]

  # The set that a group boots from, or makes. As users of Aspect Workflows write it, "default" goes without saying.
  group_sets = {
    for id, group in local.stated_groups : id =>
    group.warming || contains(local.warming_groups, id) ? coalesce(group.warming_set, "default") : group.warming_set
  }

  # Grouped by name, so that two of one name become checks.tf's business and not an error about duplicate keys here.
  groups = {
    for id, group in local.stated_groups : "${group.host}/${local.group_names[id]}" => merge(group, {
      stated_id     = id
      name          = local.group_names[id]
      set           = local.group_sets[id]
      makes_set     = contains(local.warming_groups, id)
      boots_set     = group.warming || contains(local.warming_groups, id) ? local.group_sets[id] : null
      resource_type = group.resource_type
    })...
  }

  # The warming group of each set. A set without one gets no runs; two for one are refused.
  makers = {
    for set in keys(var.warming_sets) : set =>
    [for id, same in local.groups : id if same[0].makes_set && same[0].set == set]
  }
  running_sets = { for set, groups in local.makers : set => groups[0] if length(groups) > 0 }

  resource_types = {
    for name, type in var.resource_types : name => merge(type, {
      instance_types = type.instance_types == null ? [type.instance_type] : type.instance_types
    })
  }
}
