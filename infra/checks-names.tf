# Names that the module does not have: attributes at every level, and inputs of Aspect Workflows and of other modules. These rules
# are preconditions, because Terraform evaluates all of them, and those of checks.tf, in one plan. A failed validation of a
# variable would end the plan before. No other resource may depend on this one (see checks.tf).

resource "terraform_data" "names" {
  lifecycle {
    precondition {
      condition     = length(local.unknown_attributes) == 0
      error_message = "Attributes that do not exist:\n${join("\n", local.unknown_attributes)}"
    }
    precondition {
      condition     = length(local.missing_attributes) == 0
      error_message = "Attributes that are required: ${join("; ", local.missing_attributes)}."
    }
    precondition {
      condition     = length(local.unsupported_inputs) == 0
      error_message = "Inputs that are not supported:\n${join("\n", local.unsupported_inputs)}"
    }
    precondition {
      condition     = length(local.double_attributes) == 0
      error_message = "agent_idle_timeout (seconds) is the older form of agent_idle_timeout_min, and both are in ${join(", ", local.double_attributes)}. Remove agent_idle_timeout."
    }
    precondition {
      condition     = length(local.inputs_of_gcp) == 0
      error_message = "This configuration is for the module of Aspect Workflows for Google Cloud (${join(", ", local.inputs_of_gcp)}). Hearth runs on AWS only. Begin with infra/docs/setup.md: it needs customer_id, vpc_id and vpc_subnets, and instance_types and image_id of AWS in resource_types."
    }
    precondition {
      condition     = length(local.missing_inputs) == 0 || length(local.inputs_of_gcp) > 0
      error_message = "Required inputs without a value: ${join(", ", local.missing_inputs)}."
    }
    precondition {
      condition     = length(local.inputs_of_gitlab) == 0
      error_message = "GitLab is not supported yet (${join(" and ", local.inputs_of_gitlab)}): this module has runners for GitHub Actions (gha), CircleCI (cci) and Buildkite (bk). Keep the present deployment for GitLab, and remove ${join(" and ", local.inputs_of_gitlab)} here."
    }
  }
}

locals {
  unsupported_inputs = [
    for name, one in {
      "remote.remote_execution" = { value = contains(try(keys(var.remote), []), "remote_execution") ? "stated" : null, instead = "This module has a build cache and no remote execution. Remove it." }
      external_remote           = { value = var.external_remote, instead = "The build cache is not reachable from outside, and there is no remote execution. Remove it, and run a service such as bazel-remote, with an address of its own." }
      delivery                  = { value = var.delivery, instead = "This module has no delivery. Remove it, and deliver from a CI job." }
      telemetry                 = { value = var.telemetry, instead = "Metrics and logs are in CloudWatch of your account. Remove it, and read the metrics from the namespace Hearth, for example with a metric stream." }
      webapp                    = { value = var.webapp, instead = "This module has no web application. Remove it. The output dashboard_url names the dashboard in CloudWatch." }
    } : "  ${name}: ${one.instead}" if one.value != null
  ]
  missing_inputs = [for name, value in { customer_id = var.customer_id, vpc_id = var.vpc_id, vpc_subnets = var.vpc_subnets } : name if value == null]
  inputs_of_gcp = [
    for name, value in {
      project                            = var.project
      region                             = var.region
      network                            = var.network
      subnetwork                         = var.subnetwork
      zones                              = var.zones
      cluster_standard_node_count        = var.cluster_standard_node_count
      cluster_standard_node_machine_type = var.cluster_standard_node_machine_type
    } : name if value != null
  ]
  inputs_of_gitlab = concat(
    contains(var.hosts, "gl") ? ["\"gl\" in hosts"] : [],
    [for name, value in { gl_runner_groups = var.gl_runner_groups } : name if value != null],
  )

  missing_attributes = concat(
    flatten([
      for host, groups in { gha = var.gha_runner_groups, cci = var.cci_runner_groups, bk = var.bk_runner_groups } : [
        for name, group in groups : "${host}_runner_groups.${name} has no ${join(" and no ", [for key in keys(local.placeholders[host]) : key if contains(keys(group), key) ? group[key] == null : true])}"
        if anytrue([for key in keys(local.placeholders[host]) : contains(keys(group), key) ? group[key] == null : true])
      ]
    ]),
    [for name, type in var.resource_types : "resource_types.${name} has no image_id" if contains(keys(type), "image_id") ? type.image_id == null : true],
  )

  # Every object of an input, as stated and as Terraform converts it. The converted one has all attributes of the type.
  objects = merge(
    {
      for name, pair in {
        support          = { stated = var.support, known = module.inputs.support }
        alarm_thresholds = { stated = var.alarm_thresholds, known = module.inputs.alarm_thresholds }
        bundles          = { stated = var.bundles, known = module.inputs.bundles }
        build_cache      = { stated = var.build_cache, known = module.inputs.build_cache }
        access_logs      = { stated = var.access_logs, known = module.inputs.access_logs }
      } : name => pair if can(keys(pair.stated))
    },
    merge([
      for input, pair in {
        warming_sets      = { stated = var.warming_sets, known = module.inputs.warming_sets }
        resource_types    = { stated = var.resource_types, known = module.inputs.resource_types }
        gha_runner_groups = { stated = var.gha_runner_groups, known = module.inputs.gha_runner_groups }
        cci_runner_groups = { stated = var.cci_runner_groups, known = module.inputs.cci_runner_groups }
        bk_runner_groups  = { stated = var.bk_runner_groups, known = module.inputs.bk_runner_groups }
        agents            = { stated = var.agents, known = module.inputs.agents }
      } : { for name, object in pair.stated : "${input}.${name}" => { stated = object, known = pair.known[name] } }
    ]...),
  )
  # Attributes that are objects.
  object_attributes = ["agent", "bazel", "checkout", "program"]
  objects_within = merge([
    for where, pair in local.objects : {
      for name, value in pair.stated : "${where}.${name}" => { stated = value, known = pair.known[name] }
      if contains(local.object_attributes, name) && contains(keys(pair.known), name) && can(keys(value))
    }
  ]...)
  objects_further_within = merge([
    for where, pair in local.objects_within : {
      for name, value in pair.stated : "${where}.${name}" => { stated = value, known = pair.known[name] }
      if contains(local.object_attributes, name) && contains(keys(pair.known), name) && can(keys(value))
    }
  ]...)

  # Names only: keys of any object, as lists.
  stated_names = flatten([
    for objects in [local.objects, local.objects_within, local.objects_further_within] : [
      for where, pair in objects : [
        for name in keys(pair.stated) : { where = where, name = name, known = [for known in keys(pair.known) : known] }
        if !contains(keys(pair.known), name) && !contains(local.older_attributes, name)
      ]
    ]
  ])

  # Likeness of two names: the pairs of letters that they share, from 0 to 1 (Dice's coefficient).
  pairs_of_letters = {
    for name in distinct(flatten([for one in local.stated_names : concat([one.name], one.known)])) :
    name => distinct([for at in range(max(1, length(name) - 1)) : substr(name, at, 2)])
  }
  near_names = [
    for one in local.stated_names : {
      for known in one.known : known => 2 * length(setintersection(local.pairs_of_letters[one.name], local.pairs_of_letters[known])) / (length(local.pairs_of_letters[one.name]) + length(local.pairs_of_letters[known]))
    }
  ]

  unknown_attributes = [
    for index, one in local.stated_names : "  ${one.where} has ${one.name}: ${join("", [
      contains(keys(local.foreign_attributes), one.name) ? local.foreign_attributes[one.name] :
      max(0, values(local.near_names[index])...) >= 0.5 ? "Did you mean ${[for name, likeness in local.near_names[index] : name if likeness == max(values(local.near_names[index])...)][0]}?" :
      "Known are ${join(", ", one.known)}."
    ])}"
  ]

  # Attributes of Aspect Workflows that Hearth does not have, with what to do instead.
  foreign_attributes = {
    reaper_sleep_minutes = "Hearth has no reaper: an idle runner reports itself after agent_idle_timeout_min. Remove it."
    job_max_run_time_min = "Hearth does not limit the time of a job. Remove it, and limit the time of jobs and steps in the configuration of the CI provider."
    project_id           = "It is for GitLab or for Google Cloud, which are not supported. Remove it."
    gh_repo              = "It is for gha_runner_groups. Remove it."
    gha_workflow_ids     = "It is for gha_runner_groups. Remove it."
    git_clone_depth      = "It is for bk_runner_groups: on GitHub and CircleCI the checkout step of a job has the depth. Remove it."
    queue                = "A CircleCI resource class takes the place of a queue: it is in the secret of the group. Remove it."
    machine_type         = "It is for Google Cloud. Use instance_types, with instance types of EC2."
    num_ssds             = "It is for Google Cloud. Choose instance_types with local disks instead, such as c6id.4xlarge."
    image_project        = "It is for Google Cloud. image_id is the id of an AMI."
    warm_pool            = "Warm pools are not supported: use min_runners."
  }

  double_attributes = flatten([
    for input, groups in { gha_runner_groups = var.gha_runner_groups, cci_runner_groups = var.cci_runner_groups, bk_runner_groups = var.bk_runner_groups } :
    [for name, group in groups : "${input}.${name}" if contains(keys(group), "agent_idle_timeout") && contains(keys(group), "agent_idle_timeout_min")]
  ])
}
