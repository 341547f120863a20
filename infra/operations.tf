module "alarms" {
  source = "./modules/alarms"

  name_prefix = var.name_prefix
  region      = local.region
  region_code = local.region_code
  account     = local.account
  partition   = local.partition
  groups      = { for id, same in local.groups : id => { boots_set = same[0].boots_set, takes_jobs = local.group_takes_jobs[id], has_cache = local.group_caches[id] != null, actions_enabled = !same[0].exclude_oncall_alerts } }
  sets        = { for set in keys(local.running_sets) : set => { deadline_minutes = module.inputs.warming_sets[set].deadline_minutes } }
  functions = { for name, spec in local.functions : name => {
    queues = contains(local.functions_with_inbox, name) ? concat(["${var.name_prefix}-${name}-inbox"], [for queue in try(spec.extraInboxes, []) : "${var.name_prefix}-${queue}"]) : []
    dead   = contains(local.functions_with_inbox, name) ? "${var.name_prefix}-${name}-dead" : null
    # Strangers can fill the concurrency of a public URL, and must not page with that. Hints meet the one invocation of scaling, and
    # an alarm of its own shows that it does not run.
    throttles = !anytrue([for one in spec.subscriptions : try(one.auth, "") == "none"]) && !(name == "scaling" && local.has_hints)
  } }
  thresholds   = module.inputs.alarm_thresholds
  runbooks_url = var.runbooks_url
  kms_key_arn  = var.kms_key_arn
  tags         = local.tags
}

module "support" {
  source = "./modules/support"

  name_prefix        = var.name_prefix
  account            = local.account
  partition          = local.partition
  region             = local.region
  region_code        = local.region_code
  enable_ssm_access  = local.ssm_access
  support_role_name  = module.inputs.support.support_role_name
  operator_role_name = module.inputs.support.operator_role_name
  functions          = local.functions_with_inbox
  bucket_arn         = module.warming.bucket_arn
  has_cache          = length(local.cache_scopes) > 0
  kms_key_arn        = var.kms_key_arn
  tags               = local.tags
}
