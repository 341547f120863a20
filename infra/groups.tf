# Runner groups of all CI providers in one map, with keys of the form "<host>/<name>".

locals {
  stated_groups = merge(
    { for name, group in var.gha_runner_groups : "gha/${name}" => merge(group, { host = "gha", key = name }) },
    { for name, group in var.cci_runner_groups : "cci/${name}" => merge(group, { host = "cci", key = name }) },
    { for name, group in var.bk_runner_groups : "bk/${name}" => merge(group, { host = "bk", key = name }) },
  )

  # Terraform names often contain underscores. AWS names that are derived from them must not.
  group_names = { for id, group in local.stated_groups : id => replace(lower(group.key), "_", "-") }

  warming_groups = [for id, group in local.stated_groups : id if contains(keys(group.policies), "warming_manage")]

  # The warming set that a group restores or creates. The default is "default", as in Aspect Workflows.
  group_sets = {
    for id, group in local.stated_groups : id =>
    group.warming || contains(local.warming_groups, id) ? coalesce(group.warming_set, "default") : group.warming_set
  }

  # Grouping by name lets checks.tf report two groups of one name. Without it, Terraform reports only a duplicate key.
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

  # The warming groups of each set. A set without a warming group has no runs. checks.tf refuses more than one.
  warming_groups_by_set = {
    for set in keys(var.warming_sets) : set =>
    [for id, same in local.groups : id if same[0].makes_set && same[0].set == set]
  }
  running_sets = { for set, groups in local.warming_groups_by_set : set => groups[0] if length(groups) > 0 }

  resource_types = {
    for name, type in var.resource_types : name => merge(type, {
      instance_types = type.instance_types == null ? [type.instance_type] : type.instance_types
    })
  }

  # The jobs of each group, in the format of aw-runner's configuration. Whoever adds policies to a role means jobs to use them.
  # Nothing closes the metadata service to shared jobs. A warming run is always isolated, and its role can write snapshots: only an
  # explicit value opens the metadata service to its command.
  group_jobs = {
    for id, same in local.groups : id => {
      isolation       = same[0].makes_set ? "clean" : same[0].job_isolation
      useInstanceRole = same[0].makes_set ? same[0].jobs_use_instance_role == true : same[0].jobs_use_instance_role == null ? same[0].job_isolation == "shared" || length(setsubtract(keys(same[0].policies), ["warming_manage"])) > 0 : same[0].jobs_use_instance_role
      sharedMounts    = same[0].shared_mounts
      docker          = same[0].docker
    }
  }

  # The agent of each group, in the format of aw-runner's configuration. The attributes of a group override those of its provider.
  group_agents = {
    for id, same in local.groups : id => {
      for setting, value in {
        driver        = same[0].host
        queue         = same[0].host == "bk" ? same[0].queue : null
        gitCloneDepth = try(same[0].git_clone_depth, null)
        apiUrl        = same[0].host == "cci" && var.circleci_api_url != "https://runner.circleci.com" ? var.circleci_api_url : null
        user          = try(coalesce(same[0].agent.user, try(var.agents[same[0].host].user, null)), null)
        directory     = try(coalesce(same[0].agent.directory, try(var.agents[same[0].host].directory, null)), null)
        workDirectory = try(coalesce(same[0].agent.work_directory, try(var.agents[same[0].host].work_directory, null)), null)
        program       = same[0].agent.program == null ? try(var.agents[same[0].host].program, null) : same[0].agent.program
      } : setting => value if value != null
    }
  }
}
