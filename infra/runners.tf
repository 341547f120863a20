# Boot and program logs of all runners, two streams per instance. The logs outlive the instance. CloudWatch makes a metric of each
# event in embedded metric format that reaches a group of the class Standard, whoever has written it, and a job with root can
# write here. The class Infrequent Access has no metrics (CloudWatch Logs User Guide, "Log classes"). A class cannot be changed later.
resource "aws_cloudwatch_log_group" "runners" {
  name              = "${var.name_prefix}_runners"
  log_group_class   = "INFREQUENT_ACCESS"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

module "runner_group" {
  source   = "./modules/runner-group"
  for_each = { for id, same in local.groups : id => same[0] }

  name        = "${var.name_prefix}-${each.value.host}-${each.value.name}"
  role_name   = local.group_roles[each.key]
  name_prefix = var.name_prefix
  group_id    = each.key
  min_runners = each.value.min_runners
  max_runners = each.value.max_runners
  # checks.tf reports an unknown resource type. The default value prevents an index error before that.
  resource_type = lookup(local.resource_types, each.value.resource_type, {
    instance_types = [], image_id = "", root_volume_size_gb = 8, root_device_name = "", use_preemptible = false, tags = {}
  })

  vpc_id          = var.vpc_id
  vpc_subnets     = var.vpc_subnets
  security_groups = each.value.security_groups
  policies        = local.group_policies[each.key]

  bucket_name       = local.bucket_name
  bucket_arn        = module.warming.bucket_arn
  boots_set         = each.value.boots_set
  paths             = try(local.set_paths[each.value.boots_set], [])
  lazy              = try(module.inputs.warming_sets[each.value.boots_set].lazy, "never")
  warming           = each.value.makes_set ? try(local.warming_runs[each.value.set], null) : null
  writes_snapshots  = each.value.makes_set
  idle_timeout_min  = each.value.agent_idle_timeout_min
  reports           = { url = "${local.sqs_url}/${local.reports_queue}", arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.reports_queue}" }
  runner            = { key = one(concat(aws_s3_object.runner[*].key, aws_s3_object_copy.runner[*].key)), sha256 = local.runner_sha256 }
  agent             = local.group_agents[each.key]
  jobs              = local.group_jobs[each.key]
  cache             = local.group_caches[each.key]
  drain_timeout_min = each.value.drain_timeout_min
  registration = local.group_takes_jobs[each.key] ? {
    # checks-files.tf reports a missing function.
    url = try(module.function["registration"].url, null)
    arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name_prefix}_registration"
  } : null
  log_group_arn = aws_cloudwatch_log_group.runners.arn

  enable_ssm_access    = local.ssm_access
  kms_key_arn          = var.kms_key_arn
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags
  group_tags           = each.value.tags
}
