# The bucket and the policies must not depend on runner groups, because groups use these policies.
module "warming" {
  source = "./modules/warming"

  name_prefix = var.name_prefix
  account     = local.account
  partition   = local.partition
  region      = local.region
  region_code = local.region_code
  bucket_name = local.bucket_name
  sets        = keys(module.inputs.warming_sets)
  kms_key_arn = var.kms_key_arn
  access_logs = module.inputs.access_logs
  tags        = local.tags

  cache_scopes = local.cache_scopes
}

locals {
  # The checkout of each set that has one. The repository of a Bazel workspace is one, too.
  checkouts = {
    for name, set in module.inputs.warming_sets : name => set.checkout != null ? set.checkout : {
      directory          = set.bazel.directory
      repository         = set.bazel.repository
      ref                = set.bazel.ref
      depth              = null
      submodules         = false
      credential_command = null
    } if set.checkout != null || try(set.bazel.repository, null) != null
  }

  # The directories of each set: a checkout is one, unless another one contains it.
  set_paths = {
    for name, set in module.inputs.warming_sets : name => concat(set.paths, [
      for checkout in try([local.checkouts[name]], []) : checkout.directory
      if !anytrue([for path in set.paths : startswith("${checkout.directory}/", "${path}/")])
    ])
  }

  # Warming run of each set, in the format of aw-runner's configuration. A set without command and bazel has none, and no warming group.
  warming_runs = {
    for name, set in module.inputs.warming_sets : name => {
      for setting, value in {
        command        = set.command
        user           = set.user
        timeoutSeconds = set.deadline_minutes * 60
        rebuild        = set.rebuild
        bazel = set.bazel == null ? null : {
          for setting, value in {
            directory = set.bazel.directory
            targets   = set.bazel.targets
            build     = set.bazel.build
            program   = set.bazel.program
          } : setting => value if value != null
        }
        checkout = !contains(keys(local.checkouts), name) ? null : {
          for setting, value in {
            directory         = local.checkouts[name].directory
            repository        = local.checkouts[name].repository
            ref               = local.checkouts[name].ref
            depth             = local.checkouts[name].depth
            submodules        = local.checkouts[name].submodules
            credentialCommand = local.checkouts[name].credential_command
          } : setting => value if value != null
        }
      } : setting => value if value != null
    } if set.command != null || set.bazel != null
  }

  version = jsondecode(file("${path.module}/version.json")).version

  group_parameters = {
    for id, same in local.groups : "/${var.name_prefix}/groups/${id}" => jsonencode({
      for setting, value in {
        minRunners              = same[0].min_runners
        maxRunners              = same[0].max_runners
        resourceType            = same[0].resource_type
        queue                   = try(same[0].queue, null)
        repository              = try(same[0].gh_repo, null)
        level                   = try(same[0].level, null)
        runnerGroup             = try(same[0].runner_group, null)
        labels                  = try(same[0].labels, null)
        workflowIds             = try(same[0].gha_workflow_ids, null)
        idleTimeoutMinutes      = same[0].agent_idle_timeout_min
        drainTimeoutMinutes     = same[0].drain_timeout_min
        jobIsolation            = local.group_jobs[id].isolation
        jobsUseInstanceRole     = local.group_jobs[id].useInstanceRole
        sharedMounts            = local.group_jobs[id].sharedMounts
        docker                  = local.group_jobs[id].docker
        cache                   = try(local.group_caches[id].mode, null)
        cacheScope              = try(local.group_caches[id].scope, null)
        cacheReads              = try(local.group_caches[id].reads, null)
        warmingSet              = same[0].boots_set
        warming                 = same[0].makes_set
        scalingPollingFrequency = same[0].scaling_polling_frequency
        scaleOutFactor          = same[0].scale_out_factor
      } : setting => value if value != null
    })
  }
}

# The declared part of the parameter tree. The function parameters writes the tree.
resource "aws_s3_object" "parameters" {
  bucket       = module.warming.bucket_id
  key          = "config/parameters.json"
  content_type = "application/json"
  content = jsonencode({
    version     = 1
    warmingSets = keys(module.inputs.warming_sets)
    parameters = merge(
      { "/${var.name_prefix}/deployment" = jsonencode({ customerId = var.customer_id, version = local.version, hosts = var.hosts }) },
      local.group_parameters,
    )
  })

  # S3 allows ten tags per object and rejects more. Cost allocation does not use tags of objects.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}
