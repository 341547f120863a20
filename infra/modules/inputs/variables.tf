# Types and defaults of the inputs with attributes. The root module declares them without a type, because Terraform drops
# attributes that a type does not have.

variable "warming_sets" {
  description = "As `warming_sets` of the root module."
  type = map(object({
    schedule         = optional(string, "cron(0 3 * * ? *)")
    deadline_minutes = optional(number, 120)
    keep             = optional(number, 3)
    rebuild          = optional(number, 14)
    command          = optional(list(string))
    bazel            = optional(object({ directory = string, repository = optional(string), ref = optional(string, "HEAD"), targets = optional(list(string), ["//..."]), build = optional(bool, false), program = optional(string, "bazel") }))
    user             = optional(string)
    paths            = optional(list(string), [])
    lazy             = optional(string, "never")
    checkout         = optional(object({ directory = string, repository = string, ref = optional(string, "HEAD"), depth = optional(number), submodules = optional(bool, false), credential_command = optional(list(string)) }))
  }))
}

variable "resource_types" {
  description = "As `resource_types` of the root module."
  type = map(object({
    instance_type       = optional(string)
    instance_types      = optional(list(string))
    image_id            = string
    root_volume_size_gb = optional(number, 100)
    root_device_name    = optional(string, "/dev/xvda")
    use_preemptible     = optional(bool, false)
    tags                = optional(map(string), {})
  }))
}

variable "gha_runner_groups" {
  description = "As `gha_runner_groups` of the root module."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    queue                     = string
    gh_repo                   = string
    level                     = optional(string, "repository")
    runner_group              = optional(string)
    labels                    = optional(list(string))
    gha_workflow_ids          = optional(list(string), [])
    agent_idle_timeout_min    = optional(number, 30)
    drain_timeout_min         = optional(number)
    max_instance_lifetime     = optional(number)
    replace_outdated_runners  = optional(bool, true)
    job_isolation             = optional(string, "clean")
    jobs_use_instance_role    = optional(bool)
    shared_mounts             = optional(list(string), [])
    docker                    = optional(bool, true)
    cache                     = optional(string, "off")
    cache_scope               = optional(string, "main")
    cache_reads               = optional(list(string), [])
    agent                     = optional(object({ program = optional(object({ version = string, url = string, sha256 = string })), user = optional(string), directory = optional(string), work_directory = optional(string) }), {})
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
}

variable "cci_runner_groups" {
  description = "As `cci_runner_groups` of the root module."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    agent_idle_timeout_min    = optional(number, 30)
    drain_timeout_min         = optional(number)
    max_instance_lifetime     = optional(number)
    replace_outdated_runners  = optional(bool, true)
    job_isolation             = optional(string, "clean")
    jobs_use_instance_role    = optional(bool)
    shared_mounts             = optional(list(string), [])
    docker                    = optional(bool, true)
    cache                     = optional(string, "off")
    cache_scope               = optional(string, "main")
    cache_reads               = optional(list(string), [])
    agent                     = optional(object({ program = optional(object({ version = string, url = string, sha256 = string })), user = optional(string), directory = optional(string), work_directory = optional(string) }), {})
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
}

variable "bk_runner_groups" {
  description = "As `bk_runner_groups` of the root module."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    queue                     = string
    git_clone_depth           = optional(number)
    agent_idle_timeout_min    = optional(number, 30)
    drain_timeout_min         = optional(number)
    max_instance_lifetime     = optional(number)
    replace_outdated_runners  = optional(bool, true)
    job_isolation             = optional(string, "clean")
    jobs_use_instance_role    = optional(bool)
    shared_mounts             = optional(list(string), [])
    docker                    = optional(bool, true)
    cache                     = optional(string, "off")
    cache_scope               = optional(string, "main")
    cache_reads               = optional(list(string), [])
    agent                     = optional(object({ program = optional(object({ version = string, url = string, sha256 = string })), user = optional(string), directory = optional(string), work_directory = optional(string) }), {})
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
}

variable "agents" {
  description = "As `agents` of the root module."
  type = map(object({
    program        = optional(object({ version = string, url = string, sha256 = string }))
    user           = optional(string)
    directory      = optional(string)
    work_directory = optional(string)
  }))
}

variable "support" {
  description = "As `support` of the root module."
  type = object({
    enable_ssm_access         = optional(bool)
    support_role_name         = optional(string)
    operator_role_name        = optional(string)
    pagerduty_integration_key = optional(string)
    alert_aspect              = optional(bool)
  })
}

variable "alarm_thresholds" {
  description = "As `alarm_thresholds` of the root module."
  type = object({
    boot_seconds         = optional(number, 300)
    restore_seconds      = optional(number, 300)
    drain_seconds        = optional(number, 18000)
    backlog_minutes      = optional(number, 30)
    oldest_job_seconds   = optional(number, 900)
    snapshot_age_hours   = optional(number, 50)
    snapshot_gb          = optional(number, 200)
    launch_failures      = optional(number, 3)
    unused_registrations = optional(number, 200)
    cache_failures       = optional(number, 5)
  })
}

variable "bundles" {
  description = "As `bundles` of the root module."
  type = object({
    bucket = string
    prefix = optional(string, "")
    sha256 = optional(string)
  })
}

variable "access_logs" {
  description = "As `access_logs` of the root module."
  type = object({
    bucket = string
    prefix = optional(string)
  })
}

variable "build_cache" {
  description = "As `build_cache` of the root module."
  type = object({
    disk_percent = optional(number, 10)
  })
}
