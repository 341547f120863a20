# Rules that span several variables. Terraform evaluates all of them in the plan, before any change. No other resource may
# depend on this one: the policies of a group are outputs of this module, and a dependency would create a cycle.

resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : contains(var.hosts, group.host)])
      error_message = "Runner groups whose host is not in hosts: ${join(", ", [for id, group in local.stated_groups : id if !contains(var.hosts, group.host)])}. Add the host to hosts, or remove the groups."
    }
    precondition {
      condition     = alltrue([for name in values(local.group_names) : can(regex("^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$", name))])
      error_message = "The name of a runner group becomes part of AWS names and must have 1 to 39 letters, digits and inner - or _. Wrong: ${join(", ", [for id, name in local.group_names : id if !can(regex("^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$", name))])}."
    }
    precondition {
      condition     = alltrue([for same in values(local.groups) : length(same) == 1])
      error_message = "Runner groups with the same AWS name (upper case becomes lower case, _ becomes -): ${join("; ", [for name, same in local.groups : "${join(" and ", same[*].stated_id)} both become ${name}" if length(same) > 1])}. Rename one of them."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : contains(keys(module.inputs.resource_types), group.resource_type)])
      error_message = "Unknown resource_type: ${join(", ", [for id, group in local.stated_groups : "${group.resource_type} of ${id}" if !contains(keys(module.inputs.resource_types), group.resource_type)])}. Known resource_types: ${join(", ", keys(module.inputs.resource_types))}."
    }
    precondition {
      condition     = alltrue([for id, set in local.group_sets : set == null ? true : contains(keys(module.inputs.warming_sets), set)])
      error_message = "Warming sets that do not exist: ${join(", ", [for id, set in local.group_sets : "${id} uses ${coalesce(set, "none")}" if set == null ? false : !contains(keys(module.inputs.warming_sets), set)])}. warming_sets has [${join(", ", keys(module.inputs.warming_sets))}]. Add the set there, name another set in warming_set, or remove warming."
    }
    precondition {
      condition     = alltrue([for groups in values(local.warming_groups_by_set) : length(groups) <= 1])
      error_message = "A warming set must not have more than one warming group: ${join("; ", [for set, groups in local.warming_groups_by_set : "${set} has ${join(" and ", groups)}" if length(groups) > 1])}. Keep policies.warming_manage in one of these groups."
    }
    precondition {
      # A warming run starts when an instance boots. It therefore needs one instance above the minimum.
      condition     = alltrue([for id in local.warming_groups : local.stated_groups[id].max_runners > local.stated_groups[id].min_runners])
      error_message = "A warming group needs max_runners above min_runners, because a warming run adds one runner: ${join(", ", [for id in local.warming_groups : "${id} has min_runners ${local.stated_groups[id].min_runners} and max_runners ${local.stated_groups[id].max_runners}" if local.stated_groups[id].max_runners <= local.stated_groups[id].min_runners])}. Raise max_runners, or remove min_runners."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : group.min_runners >= 0 && group.min_runners <= group.max_runners])
      error_message = "min_runners must be from 0 to max_runners: ${join(", ", [for id, group in local.stated_groups : "${id} has ${group.min_runners} and ${group.max_runners}" if !(group.min_runners >= 0 && group.min_runners <= group.max_runners)])}."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : group.agent_idle_timeout_min >= 1 && group.agent_idle_timeout_min <= 720])
      error_message = "agent_idle_timeout_min must be from 1 to 720: ${join(", ", [for id, group in local.stated_groups : "${id} has ${group.agent_idle_timeout_min}" if !(group.agent_idle_timeout_min >= 1 && group.agent_idle_timeout_min <= 720)])}."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : contains([1, 2, 3], group.scaling_polling_frequency)])
      error_message = "scaling_polling_frequency is the number of backlog polls per minute and must be 1, 2 or 3. Wrong in ${join(", ", [for id, group in local.stated_groups : id if !contains([1, 2, 3], group.scaling_polling_frequency)])}."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : group.scale_out_factor == null ? true : group.scale_out_factor > 0])
      error_message = "scale_out_factor must be above 0. Wrong in ${join(", ", [for id, group in local.stated_groups : id if group.scale_out_factor == null ? false : group.scale_out_factor <= 0])}."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : group.drain_timeout_min == null ? true : group.drain_timeout_min >= 1 && group.drain_timeout_min <= 2880])
      error_message = "drain_timeout_min must be from 1 to 2880 (48 hours, the limit of Auto Scaling): ${join(", ", [for id, group in local.stated_groups : "${id} has ${group.drain_timeout_min}" if group.drain_timeout_min == null ? false : !(group.drain_timeout_min >= 1 && group.drain_timeout_min <= 2880)])}. Remove it for a drain without a limit of its own."
    }
    precondition {
      condition     = alltrue([for group in values(local.stated_groups) : group.max_instance_lifetime == null ? true : group.max_instance_lifetime >= 3600 && group.max_instance_lifetime <= 31536000 && floor(group.max_instance_lifetime) == group.max_instance_lifetime])
      error_message = "max_instance_lifetime is in seconds and must be from 3600 (one hour) to 31536000 (one year): ${join(", ", [for id, group in local.stated_groups : "${id} has ${group.max_instance_lifetime}" if group.max_instance_lifetime == null ? false : !(group.max_instance_lifetime >= 3600 && group.max_instance_lifetime <= 31536000 && floor(group.max_instance_lifetime) == group.max_instance_lifetime)])}. A replacement takes minutes, so shorter lives would keep the group busy with them."
    }
    precondition {
      condition     = alltrue([for group in values(module.inputs.bk_runner_groups) : group.git_clone_depth == null ? true : group.git_clone_depth >= 1 && floor(group.git_clone_depth) == group.git_clone_depth])
      error_message = "git_clone_depth is a number of commits and must be a whole number from 1: ${join(", ", [for name, group in module.inputs.bk_runner_groups : "bk/${name} has ${group.git_clone_depth}" if group.git_clone_depth == null ? false : !(group.git_clone_depth >= 1 && floor(group.git_clone_depth) == group.git_clone_depth)])}. Remove it for complete clones."
    }
    precondition {
      condition     = alltrue([for group in values(module.inputs.gha_runner_groups) : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", group.gh_repo))])
      error_message = "gh_repo must be owner/name, such as acme/monorepo, without a URL: ${join(", ", [for name, group in module.inputs.gha_runner_groups : "gha/${name} has ${group.gh_repo}" if !can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", group.gh_repo))])}. A group with level = \"organization\" names one of its repositories too."
    }
    precondition {
      condition     = alltrue([for group in values(module.inputs.gha_runner_groups) : contains(["repository", "organization"], group.level)])
      error_message = "level must be repository (the runners belong to gh_repo) or organization (they belong to the owner of gh_repo). Wrong in ${join(", ", [for name, group in module.inputs.gha_runner_groups : "gha/${name}" if !contains(["repository", "organization"], group.level)])}."
    }
    precondition {
      condition     = alltrue([for group in values(module.inputs.gha_runner_groups) : group.runner_group == null ? true : group.level == "organization" && group.runner_group != ""])
      error_message = "runner_group is the name of a runner group of an organization: it must not be empty, and needs level = \"organization\". Wrong in ${join(", ", [for name, group in module.inputs.gha_runner_groups : "gha/${name}" if group.runner_group == null ? false : !(group.level == "organization" && group.runner_group != "")])}."
    }
    precondition {
      condition     = length(local.groups_with_wrong_labels) == 0
      error_message = "labels must have 1 to 100 different labels of 1 to 256 characters, without commas, and GitHub ignores their case. Wrong in ${join(", ", local.groups_with_wrong_labels)}. Remove labels for the label queue alone."
    }
    precondition {
      condition     = length(local.agent_problems) == 0
      error_message = "Wrong settings of an agent: ${join("; ", local.agent_problems)}."
    }
    precondition {
      condition     = length(local.job_problems) == 0
      error_message = "Wrong settings of jobs: ${join("; ", local.job_problems)}."
    }
    precondition {
      condition     = length(local.path_problems) == 0
      error_message = "Wrong directories of a warming set: ${join("; ", local.path_problems)}."
    }
    precondition {
      condition     = length(local.wrong_policies) == 0
      error_message = "policies.warming_manage must be the name of a warming set, or the ARN of its policy from warming_management_policies: ${join("; ", local.wrong_policies)}. Write the name of the set."
    }
    precondition {
      condition     = length(local.urls_with_credentials) == 0
      error_message = "URLs must not contain credentials (https://<token>@… or …://<user>:<password>@…), and a command must not contain a token: the Terraform state, and user data or incidents, which jobs or many people can read, would contain them. Wrong in: ${join(", ", local.urls_with_credentials)}. A checkout has credential_command, and a command can read its credentials itself."
    }
    precondition {
      # An ARN of a policy that does not exist yet is unknown in the plan. The apply evaluates the rule then.
      condition     = length(local.groups_that_write_snapshots) == 0
      error_message = "Groups whose jobs could write snapshots: ${join(", ", local.groups_that_write_snapshots)}. A policy of warming_management_policies is for the warming group of its set, under the key warming_manage. Remove it from the other policies of these groups."
    }
    precondition {
      condition     = length(local.groups_of_another_level) == 0
      error_message = "Groups that would start from a snapshot of another trust level: ${join("; ", local.groups_of_another_level)}. A run with root or with Docker can write every block of the filesystem image that these groups mount. Give the group a set of its own. Or declare the trust: cache_scope of the warming group is the trust level of the set, and a group trusts its own cache_scope and its cache_reads. Or take root away from the run: docker = false in the warming group, and another user than root."
    }
    precondition {
      condition     = length(local.plain_keys) == 0
      error_message = "${join(" and ", local.plain_keys)} would store the PagerDuty key in plain text in the Terraform state and in your repository. Remove it and apply. Then put the key into the secret that the output pagerduty_routing_secret_id names: use the console, or aws_secretsmanager_secret_version with secret_string_wo. If the key was ever committed, create a new key in PagerDuty."
    }
    precondition {
      condition     = !var.enable_webhooks || var.enable_function_reserved_concurrency
      error_message = "enable_webhooks needs enable_function_reserved_concurrency: without a concurrency of its own, callers of the public URL could take that of all other functions. Raise the quota of the account and remove enable_function_reserved_concurrency = false, or remove enable_webhooks."
    }
    precondition {
      condition     = !var.enable_webhooks || anytrue([for group in values(local.stated_groups) : contains(["gha", "bk"], group.host)])
      error_message = "enable_webhooks needs a runner group of gha or bk: CircleCI has no webhook for a job that waits. Remove enable_webhooks."
    }
    precondition {
      condition     = var.buildkite_event_bus == null || contains(var.hosts, "bk")
      error_message = "buildkite_event_bus needs bk in hosts. Add it, or remove buildkite_event_bus."
    }
    precondition {
      condition     = var.enable_ssm_access == null || module.inputs.support.enable_ssm_access == null || var.enable_ssm_access == module.inputs.support.enable_ssm_access
      error_message = "enable_ssm_access and support.enable_ssm_access contradict each other. Keep only support.enable_ssm_access."
    }
  }
}

locals {
  groups_with_wrong_labels = [
    for name, group in module.inputs.gha_runner_groups : "gha/${name}"
    if group.labels == null ? false : (
      length(group.labels) < 1 || length(group.labels) > 100
      || length(distinct([for label in group.labels : lower(label)])) != length(group.labels)
      || anytrue([for label in group.labels : !can(regex("^[^,\\s]([^,]{0,254}[^,\\s])?$", label))])
    )
  ]

  # aw-runner has the same rules (infra/runner/src/agents/settings.ts); there they would fail a boot.
  agent_problems = flatten([
    for where, agent in merge(
      { for provider, agent in module.inputs.agents : "agents.${provider}" => agent },
      { for id, group in local.stated_groups : "agent of ${id}" => group.agent },
    ) :
    [for problem, wrong in {
      "user must be a user name"                                  = agent.user == null ? false : !can(regex("^[a-z_][a-z0-9_-]{0,31}$", agent.user))
      "directory must be an absolute path"                        = agent.directory == null ? false : !startswith(agent.directory, "/")
      "work_directory must be an absolute path"                   = agent.work_directory == null ? false : !startswith(agent.work_directory, "/")
      "program.version must have letters, digits, dots, - and _"  = agent.program == null ? false : !can(regex("^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$", agent.program.version))
      "program.url must begin with https://"                      = agent.program == null ? false : !can(regex("^https://[^/]+/", agent.program.url))
      "program.sha256 must have 64 lower-case hexadecimal digits" = agent.program == null ? false : !can(regex("^[0-9a-f]{64}$", agent.program.sha256))
    } : "${where}: ${problem}" if wrong]
  ])

  # Places in the root of a job that aw-runner fills. A shared directory there would undo the isolation, or hide the job's own.
  places_of_jobs = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/lib/docker", "/var/lib/aw-runner", "/etc/aw-runner", "/usr/local/lib/aw-runner", "/opt/hearth", "/var/lib/hearth-agent", "/mnt/ephemeral/aw"]

  # At most 20 directories of 128 characters, so that the parameter of the group stays below the 4 KB of a standard parameter.
  job_problems = flatten([
    for id, group in local.stated_groups : [for problem, wrong in {
      "job_isolation must be clean or shared"                                                                                         = !contains(["clean", "shared"], group.job_isolation)
      "jobs_use_instance_role = false needs job_isolation = \"clean\", because shared jobs always reach the role. Remove one of them" = group.job_isolation == "shared" && group.jobs_use_instance_role == false
      "docker = false needs job_isolation = \"clean\", because shared jobs use the Docker of the image. Remove one of them"           = group.job_isolation == "shared" && !group.docker
      "shared_mounts must have at most 20 different directories of at most 128 characters"                                            = length(distinct(group.shared_mounts)) != length(group.shared_mounts) || length(group.shared_mounts) > 20 || anytrue([for path in group.shared_mounts : length(path) > 128])
      "shared_mounts must be absolute paths of letters, digits, dots, - and _, without . and .. and a slash at the end"               = anytrue([for path in group.shared_mounts : !can(regex("^(/[A-Za-z0-9._-]+)+$", path)) || can(regex("/\\.{1,2}(/|$)", path))])
      "shared_mounts must not contain or be inside ${join(", ", local.places_of_jobs)}"                                               = anytrue([for path in group.shared_mounts : anytrue([for place in local.places_of_jobs : path == place || startswith(path, "${place}/") || startswith(place, "${path}/")])])
    } : "${id}: ${problem}" if wrong]
  ])

  # Places of the system, of jobs and of aw-runner. aw-runner has the same rules (infra/runner/src/snapshot/warm-paths.ts); there
  # they would fail a boot.
  places_of_system = ["/proc", "/sys", "/dev", "/run", "/tmp", "/boot", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/var/log", "/var/lib/aw-runner", "/usr/local/lib/aw-runner", "/opt/hearth", "/mnt/ephemeral/aw", "/var/lib/hearth-agent/gha/runner"]

  path_problems = flatten([
    for set, paths in local.set_paths : concat(
      length(paths) > 30 ? ["${set} has ${length(paths)} directories, and at most 30 are possible"] : [],
      [for path in paths : "${set}: ${path} must be an absolute path of at most 200 letters, digits and . _ @ + -, without . and .. and a slash at the end" if !can(regex("^(/[A-Za-z0-9._@+-]+)+$", path)) || can(regex("/\\.{1,2}(/|$)", path)) || length(path) > 200],
      [for path in paths : "${set}: ${path} is a home directory, which can hold credentials; name directories inside it" if can(regex("^/(root|home|home/[^/]+)$", path))],
      [for path in paths : "${set}: ${path} contains what agents keep; name directories inside it" if contains(["/var/lib/hearth-agent/gha", "/var/lib/hearth-agent/bk", "/var/lib/hearth-agent/cci"], path)],
      [for pair in setproduct(paths, local.places_of_system) : "${set}: ${pair[0]} overlaps ${pair[1]}, which is not for jobs to share" if startswith("${pair[0]}/", "${pair[1]}/") || startswith("${pair[1]}/", "${pair[0]}/")],
      [for path in paths : "${set}: Docker cannot work in ${path} with lazy = \"auto\", because an overlay would hold it; remove lazy" if try(module.inputs.warming_sets[set].lazy, "never") == "auto" && (startswith("${path}/", "/var/lib/docker/") || startswith("/var/lib/docker/", "${path}/"))],
      length(distinct(paths)) < length(paths) ? ["${set} names a directory twice"] : [],
      [for pair in setproduct(paths, paths) : "${set}: ${pair[0]} is inside ${pair[1]}; name ${pair[1]} alone" if pair[0] != pair[1] && startswith("${pair[0]}/", "${pair[1]}/")],
      [for checkout in try([local.checkouts[set]], []) : "${set}: credential_command needs a repository with https://" if checkout.credential_command != null && !startswith(checkout.repository, "https://")],
      [for checkout in try([local.checkouts[set]], []) : "${set}: repository and ref of a checkout must not begin with -, and depth is a whole number from 0" if startswith(checkout.repository, "-") || startswith(checkout.ref, "-") || (checkout.depth == null ? false : checkout.depth < 0 || floor(checkout.depth) != checkout.depth)],
      try(module.inputs.warming_sets[set].checkout, null) != null && try(module.inputs.warming_sets[set].bazel.repository, null) != null ? ["${set} must not have both checkout and the repository of bazel"] : [],
      [for pair in setproduct(paths, flatten([for id, group in local.stated_groups : group.shared_mounts if local.group_sets[id] == set])) : "${set}: ${pair[0]} overlaps ${pair[1]} of shared_mounts" if startswith("${pair[0]}/", "${pair[1]}/") || startswith("${pair[1]}/", "${pair[0]}/")],
    )
  ])

  groups_that_write_snapshots = [
    for id, group in local.stated_groups : id
    if anytrue([for key, arn in group.policies : key != "warming_manage" && can(regex(":policy/${var.name_prefix}-warming-manage-", arn))])
  ]

  # The trust level of each set whose run could write the blocks of its image: as root, or with Docker, which is root. (An image without
  # Docker cannot be told from here.) It is that of the warming group.
  set_levels = {
    for set, id in local.running_sets : set => local.groups[id][0].cache_scope
    if local.groups[id][0].docker || contains([for user in [module.inputs.warming_sets[set].user, try(local.group_agents[id].user, null)] : user if user != null], "root")
  }

  groups_of_another_level = [
    for id, same in local.groups : "${id} (cache_scope ${same[0].cache_scope}) names ${same[0].boots_set}, which ${local.running_sets[same[0].boots_set]} (cache_scope ${local.set_levels[same[0].boots_set]}) makes"
    if same[0].boots_set == null || same[0].makes_set ? false : contains(keys(local.set_levels), same[0].boots_set) && !contains(concat([same[0].cache_scope], same[0].cache_reads), try(local.set_levels[same[0].boots_set], same[0].cache_scope))
  ]

  # aw-runner alone makes snapshots. Jobs of a CI provider must not: whoever may name the label of a group could write what every
  # runner of the set mounts.
  sets_without_run = [
    for id in local.warming_groups : "${local.group_sets[id]} (of ${id})"
    if contains(setsubtract(keys(module.inputs.warming_sets), keys(local.warming_runs)), local.group_sets[id])
  ]

  wrong_policies = [
    for id in local.warming_groups :
    local.policy_sets[id] == null ? "${id} has another value" : "${id} has the policy of ${local.policy_sets[id]}, and warming_set is ${local.group_sets[id]}"
    if local.policy_sets[id] == null ? true : local.policy_sets[id] != local.group_sets[id]
  ]

  unused_policies = [
    for id, group in local.stated_groups : "${id} (${join(", ", setsubtract(keys(group.policies), ["warming_manage"]))})"
    if group.jobs_use_instance_role == false && length(setsubtract(keys(group.policies), ["warming_manage"])) > 0
  ]

  # Only names, as below. aw-runner has the same rule for what reaches an instance (shared/runtime/redact.ts).
  url_with_credentials = "(?i)(https?://[^/?#@\\s]*@|[a-z][a-z0-9+.-]*://[^/?#:@\\s]*:[^/?#@\\s]*@)"
  token                = "\\b(A(KIA|SIA)[0-9A-Z]{16}\\b|(gh[pousr]|github_pat|bk[a-z]{2}|CCI[A-Z]{2,5}|npm|dckr_pat|[rs]k_live)_\\w{16}|(glpat|pypi|xox[a-z])-[\\w-]{16})"
  texts_with_urls = merge(
    { for set, warming in module.inputs.warming_sets : "warming_sets.${set}" => concat(
      [coalesce(try(warming.bazel.repository, null), "-"), coalesce(try(warming.checkout.repository, null), "-")],
      warming.command == null ? [] : warming.command,
      try(warming.checkout.credential_command == null ? [] : warming.checkout.credential_command, []),
    ) },
    { for provider, agent in module.inputs.agents : "agents.${provider}" => [coalesce(try(agent.program.url, null), "-")] },
    { for id, group in local.stated_groups : "agent of ${id}" => [coalesce(try(group.agent.program.url, null), "-")] },
    { runbooks_url = [coalesce(var.runbooks_url, "-")] },
  )
  urls_with_credentials = [for name, texts in local.texts_with_urls : name if anytrue([for text in texts : can(regex(local.url_with_credentials, text)) || can(regex(local.token, text))])]

  # Only names. Terraform prints the values that a failed rule uses, and the key must not be printed.
  plain_keys = [
    for name, key in {
      "support.pagerduty_integration_key" = module.inputs.support.pagerduty_integration_key
      "pagerduty_integration_key"         = var.pagerduty_integration_key
    } : name if key != null
  ]
}

# A warning: services of the system, such as an agent in the AMI, can need the policies.
check "policies_of_jobs" {
  assert {
    condition     = length(local.unused_policies) == 0
    error_message = "Groups whose policies their jobs cannot use: ${join("; ", local.unused_policies)}. jobs_use_instance_role = false takes precedence: only services of the system have these permissions. If jobs need them, remove jobs_use_instance_role."
  }
}

# A warning, because the configurations of Aspect Workflows have such sets: there, a job of the warming group saves the set.
check "sets_without_snapshots" {
  assert {
    condition     = length(local.sets_without_run) == 0
    error_message = "Warming sets that get no snapshots: ${join(", ", local.sets_without_run)}. They have neither command nor bazel, so runners boot without a snapshot, and the warming group runs nothing. Jobs of a CI provider save no snapshots, and do not run on a warming group. Add bazel or command to the set: aw-runner then makes a snapshot at its schedule."
  }
}
