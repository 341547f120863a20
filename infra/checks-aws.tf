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

  # Limits of AWS that cannot be raised, and that grow with groups, sets or scopes.
  # Lambda measures the variables of a function as JSON, 4 KB (Lambda Developer Guide, "Quotas"). modules/function adds the queues.
  warming_variables = length(jsonencode({
    NAME_PREFIX     = var.name_prefix
    BUCKET          = local.bucket_name
    WARMING_SETS    = local.function_values.WARMING_SETS
    INBOX_URL       = "${local.sqs_url}/${var.name_prefix}-warming-inbox"
    DEAD_LETTER_URL = "${local.sqs_url}/${var.name_prefix}-warming-dead"
  }))
  # The rules of modules/warming: six kinds of claims per scope, and two. A bucket has at most 1,000 (S3 User Guide, "Managing the lifecycle
  # of objects").
  lifecycle_rules = 6 * length(local.cache_scopes) + 2
  count_problems = concat(
    local.warming_variables > 4096 ? ["the ${length(local.running_sets)} warming sets with a warming group are a variable of the function warming, and its variables would have ${local.warming_variables} bytes of the 4,096 that Lambda allows. About ${floor((4096 - local.warming_variables) * length(local.running_sets) / length(jsonencode(local.function_values.WARMING_SETS))) + length(local.running_sets)} sets of such names fit"] : [],
    local.lifecycle_rules > 1000 ? ["the ${length(local.cache_scopes)} scopes of the build cache need ${local.lifecycle_rules} lifecycle rules of the 1,000 that a bucket has. 166 scopes fit"] : [],
  )

  # Quotas that can be raised, with their defaults: Auto Scaling User Guide, "Quotas"; IAM User Guide, "IAM and AWS STS quotas"; Amazon VPC
  # User Guide, "Amazon VPC quotas".
  needed_quotas = {
    "Auto Scaling groups per region"               = { needs = length(local.groups), default = 500 }
    "IAM roles per account"                        = { needs = length(local.groups) + 2 * length(local.functions), default = 1000 }
    "IAM instance profiles per account"            = { needs = length(local.groups), default = 1000 }
    "customer managed policies of IAM per account" = { needs = length(module.inputs.warming_sets) + 2, default = 1500 }
    "VPC security groups per region"               = { needs = length(local.groups), default = 2500 }
  }
  exceeded_quotas = [for quota, one in local.needed_quotas : "${one.needs} ${quota} (default ${one.default})" if one.needs > one.default]
}

# A warning: an account can have a higher quota.
check "default_quotas" {
  assert {
    condition     = length(local.exceeded_quotas) == 0
    error_message = "This deployment needs more than a new account has: ${join("; ", local.exceeded_quotas)}. Request these quotas in Service Quotas before the apply, or divide the groups among several accounts."
  }
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
