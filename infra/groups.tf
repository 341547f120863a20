# Runner groups of all CI providers in one map, with keys of the form "<host>/<name>".

locals {
  stated_groups = merge(
    { for name, group in module.inputs.gha_runner_groups : "gha/${name}" => merge(group, { host = "gha", key = name }) },
    { for name, group in module.inputs.cci_runner_groups : "cci/${name}" => merge(group, { host = "cci", key = name }) },
    { for name, group in module.inputs.bk_runner_groups : "bk/${name}" => merge(group, { host = "bk", key = name }) },
  )

  # Terraform names often contain underscores. AWS names that are derived from them must not.
  group_names = { for id, group in local.stated_groups : id => replace(lower(group.key), "_", "-") }

  warming_groups = [for id, group in local.stated_groups : id if contains(keys(group.policies), "warming_manage")]

  # The set whose policy a warming group has: by the name of the set, or by the ARN of the policy. Null for any other value.
  policy_sets = {
    for id in local.warming_groups : id =>
    contains(keys(module.inputs.warming_sets), local.stated_groups[id].policies.warming_manage) ? local.stated_groups[id].policies.warming_manage :
    try(regex(":policy/${var.name_prefix}-warming-manage-(.+)-${local.region_code}$", local.stated_groups[id].policies.warming_manage)[0], null)
  }

  # The warming set that a group restores or creates. The default is "default", as in Aspect Workflows. A warming group has the
  # only set, or that of its policy: an ARN can be unknown in the plan, so it is read last.
  group_sets = {
    for id, group in local.stated_groups : id => (
      group.warming_set != null ? group.warming_set :
      !contains(local.warming_groups, id) ? (group.warming ? "default" : null) :
      length(module.inputs.warming_sets) == 1 ? keys(module.inputs.warming_sets)[0] :
      coalesce(local.policy_sets[id], "default")
    )
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

  # As long as IAM allows: 64 characters.
  group_roles = { for id, same in local.groups : id => "${var.name_prefix}-${same[0].host}-${same[0].name}-${local.region_code}" }

  # The warming groups of each set. checks.tf refuses more than one.
  warming_groups_by_set = {
    for set in keys(module.inputs.warming_sets) : set =>
    [for id, same in local.groups : id if same[0].makes_set && same[0].set == set]
  }
  # A set without a warming group, or without a command, has no runs.
  running_sets = { for set, groups in local.warming_groups_by_set : set => groups[0] if length(groups) > 0 && contains(keys(local.warming_runs), set) }

  # The policies of each group by ARN. That of its warming set is always the one of this module.
  group_policies = {
    for id, same in local.groups : id => {
      for name, policy in same[0].policies : name =>
      name == "warming_manage" ? try(module.warming.management_policies[same[0].set].arn, policy) : policy
    }
  }

  resource_types = {
    for name, type in module.inputs.resource_types : name => merge(type, {
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
        user          = try(coalesce(same[0].agent.user, try(module.inputs.agents[same[0].host].user, null)), null)
        directory     = try(coalesce(same[0].agent.directory, try(module.inputs.agents[same[0].host].directory, null)), null)
        workDirectory = try(coalesce(same[0].agent.work_directory, try(module.inputs.agents[same[0].host].work_directory, null)), null)
        program       = same[0].agent.program == null ? try(module.inputs.agents[same[0].host].program, null) : same[0].agent.program
      } : setting => value if value != null
    }
  }
}
