# Forms and limits of AWS. Terraform's provider accepts these values in a plan, and the apply would fail midway. No other resource may
# depend on this one (see checks.tf).

resource "terraform_data" "aws" {
  lifecycle {
    precondition {
      condition     = length(local.form_problems) == 0
      error_message = "Values that AWS does not accept: ${join("; ", local.form_problems)}."
    }
    precondition {
      condition     = length(local.size_problems) == 0
      error_message = "Sizes that Auto Scaling does not accept: ${join("; ", local.size_problems)}."
    }
    precondition {
      # Types of Google Cloud are one of the signs of a configuration for it, which has a message of its own.
      condition     = length(local.type_problems) == 0 || length(local.inputs_of_gcp) > 0
      error_message = "Wrong types of instances: ${join("; ", local.type_problems)}."
    }
    precondition {
      condition     = length(local.group_form_problems) == 0
      error_message = "Wrong settings of runner groups: ${join("; ", local.group_form_problems)}."
    }
    precondition {
      condition     = length(local.tag_problems) == 0
      error_message = "Wrong tags: ${join("; ", local.tag_problems)}."
    }
    precondition {
      condition     = length(local.threshold_problems) == 0
      error_message = "Wrong alarm_thresholds: ${join("; ", local.threshold_problems)}."
    }
    precondition {
      condition     = length(local.count_problems) == 0
      error_message = "Too many for one deployment: ${join("; ", local.count_problems)}. Divide them among two deployments with different name_prefix."
    }
  }
}

locals {
  form_problems = [
    for problem, wrong in {
      "vpc_subnets must have different ids of subnets (subnet-…)"                                                             = var.vpc_subnets == null ? false : length(distinct(var.vpc_subnets)) != length(var.vpc_subnets) || anytrue([for id in var.vpc_subnets : !can(regex("^subnet-", id))])
      "permissions_boundary must be the ARN of an IAM policy, such as arn:aws:iam::111122223333:policy/boundary"              = var.permissions_boundary == null ? false : !can(regex("^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/.+$", var.permissions_boundary))
      "kms_key_arn must be the ARN of a KMS key (arn:…:key/…), and neither its id nor an alias, because IAM policies name it" = var.kms_key_arn == null ? false : !can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
      "cost_allocation_tag must be a key of a tag, and no key of another tag (created-by, Name, aws:…, hearth:…)"             = !can(regex(local.tag_key, var.cost_allocation_tag)) || can(regex("^aws:", var.cost_allocation_tag)) || can(regex(local.own_tag, var.cost_allocation_tag))
      "cost_allocation_tag_value must be a value of a tag: at most 256 letters, digits, spaces and + - = . _ : / @"           = var.cost_allocation_tag_value == null ? false : !can(regex(local.tag_value, var.cost_allocation_tag_value))
    } : problem if wrong
  ]

  size_problems = flatten([
    for id, group in local.stated_groups : [for name, value in { max_runners = group.max_runners, min_runners = group.min_runners } :
    "${name} of ${id} is ${value} and must be a whole number from 0" if value < 0 || floor(value) != value]
  ])

  # AWS names types of its Arm processors with a g behind the generation, such as c7gd.4xlarge; a1 is the first of them.
  type_architectures = {
    for name, type in local.resource_types : name => distinct([for one in type.instance_types : can(regex("^(a1|[a-z]+[0-9]+[a-z-]*g[a-z-]*)\\.", one)) ? "Arm" : "x86"])
  }
  # At most 40 types: the Auto Scaling User Guide, "Quotas".
  type_problems = flatten([
    for name, type in local.resource_types : [for problem, wrong in {
      "image_id must be the id of an AMI (ami-…) or a parameter (resolve:ssm:…)"                  = !can(regex("^(ami-|resolve:ssm:)", type.image_id))
      "instance_types must be names of EC2, such as c6id.4xlarge"                                 = anytrue([for one in type.instance_types : !can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", one))])
      "instance_types must have at most 40 different types"                                       = length(type.instance_types) > 40 || length(distinct(type.instance_types)) != length(type.instance_types)
      "instance_types has types of Arm and of x86, and an AMI is for one of them: make two of it" = length(local.type_architectures[name]) > 1
      "root_volume_size_gb must be a whole number"                                                = floor(type.root_volume_size_gb) != type.root_volume_size_gb
      "root_device_name must be a device, such as /dev/xvda"                                      = !can(regex("^/dev/[a-z0-9]+$", type.root_device_name))
    } : "${name}: ${problem}" if wrong]
  ])

  group_form_problems = flatten([
    for id, group in local.stated_groups : [for problem, wrong in {
      "queue must not be empty, nor have commas, equals signs or spaces at its ends, and at most 256 characters" = group.host == "cci" ? false : !can(regex("^[^,=\\s]([^,=\\n]{0,254}[^,=\\s])?$", group.queue))
      "gh_repo ends in .git, which is part of the URL and not of the name"                                       = endswith(try(group.gh_repo, ""), ".git")
      "security_groups must have ids of security groups (sg-…)"                                                  = anytrue([for one in values(group.security_groups) : !can(regex("^sg-", one))])
      "policies must have ARNs of IAM policies"                                                                  = anytrue([for key, one in group.policies : key != "warming_manage" && !can(regex("^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/", one))])
    } : "${id}: ${problem}" if wrong]
  ])

  # Forms of tags: EC2 User Guide, "Tag restrictions". A resource has at most 50, and up to ten of them are those of the module.
  own_tag   = "^(hearth:.*|created-by|Name)$"
  tag_key   = "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,128}$"
  tag_value = "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{0,256}$"
  stated_tags = merge(
    { tags = var.tags },
    { for name, type in local.resource_types : "tags of resource_types.${name}" => type.tags },
    { for id, group in local.stated_groups : "tags of ${id}" => group.tags },
  )
  tag_problems = concat(
    flatten([
      for where, tags in local.stated_tags : [for problem, keys in {
        "keys and values have letters, digits, spaces and + - = . _ : / @, at most 128 and 256 of them" = [for key, value in tags : key if value == null ? true : !can(regex(local.tag_key, key)) || !can(regex(local.tag_value, value))]
        "AWS reserves keys that begin with aws:"                                                        = [for key in keys(tags) : key if startswith(key, "aws:")]
        "the module sets these keys itself"                                                             = [for key in keys(tags) : key if can(regex(local.own_tag, key)) || key == var.cost_allocation_tag]
      } : "${where} has ${join(", ", keys)}: ${problem}" if length(keys) > 0]
    ]),
    [
      for id, group in local.stated_groups : "${id} has ${length(merge(try(local.resource_types[group.resource_type].tags, {}), group.tags, var.tags))} tags, and a resource has at most 40 beside those of the module"
      if length(merge(try(local.resource_types[group.resource_type].tags, {}), group.tags, var.tags)) > 40
    ],
  )

  # An alarm covers at most a day: backlog_minutes is its number of periods of one minute (CloudWatch API Reference, "PutMetricAlarm").
  threshold_problems = concat(
    [for name, value in module.inputs.alarm_thresholds : "${name} is ${value} and must not be negative" if value < 0],
    [for value in [module.inputs.alarm_thresholds.backlog_minutes] : "backlog_minutes is ${value} and must be a whole number from 1 to 1440" if value < 1 || value > 1440 || floor(value) != value],
  )

  # Policies name each group or secret. The inline policies of a role have at most 10,240 characters together, and a managed policy has
  # 6,144 (IAM User Guide, "IAM and AWS STS quotas"). What else they contain is below 2,200. The ARN of a secret ends in a suffix of
  # Terraform (26 characters) and one of AWS (7).
  scaled_characters  = sum(concat([0], [for id, same in local.groups : length("arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name_prefix}-${replace(id, "/", "-")}") + 3 if local.group_takes_jobs[id]]))
  secret_characters  = sum(concat([0], [for secret in local.agent_secrets : length("arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.name_prefix}_${secret}_") + 36]))
  warming_characters = length(local.function_values.WARMING_SETS)
  count_problems = concat(
    local.scaled_characters + local.secret_characters > 8000 ? ["the policy of the function scaling names each of the ${length(local.groups)} runner groups, and would exceed the 10,240 characters of IAM"] : [],
    local.secret_characters > 3900 ? ["the policy for operators names each of the ${length(local.agent_secrets)} secrets of agents, and would exceed the 6,144 characters of IAM"] : [],
    # The variables of a function have at most 4 KB together (Lambda Developer Guide, "Quotas").
    local.warming_characters > 3000 ? ["the function warming gets all ${length(local.running_sets)} warming sets with their groups as a variable, and would exceed the 4 KB of Lambda"] : [],
  )
}

# A warning: a group for Spot and one for on-demand instances can share a queue on purpose. Each of them then counts all of its jobs.
check "groups_of_the_same_jobs" {
  assert {
    condition     = length(local.groups_of_the_same_jobs) == 0
    error_message = "Groups that take the same jobs: ${join("; ", local.groups_of_the_same_jobs)}. Each raises its capacity to all of these jobs, so together they start too many runners. Give each group a queue or labels of its own."
  }
}

locals {
  # Which jobs a group takes, as text. A resource class is in a secret, so groups of CircleCI are unknown.
  jobs_of_groups = {
    for id, group in local.stated_groups : id => group.host == "bk" ? "queue ${group.queue}" : "${group.level == "organization" ? split("/", group.gh_repo)[0] : group.gh_repo} with the labels ${join(", ", sort([for label in coalesce(group.labels, [group.queue]) : lower(label)]))}"
    if group.host != "cci" && !contains(local.warming_groups, id)
  }
  groups_of_the_same_jobs = [
    for jobs, ids in { for id, jobs in local.jobs_of_groups : jobs => id... } : "${join(" and ", ids)} (${jobs})" if length(ids) > 1
  ]
}
