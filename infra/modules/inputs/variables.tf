# Types and defaults of the inputs with attributes. The root module declares them without a type, because Terraform drops
# attributes that a type does not have. The comment of an attribute names its effect and unit, and README.md has it. An attribute
# without a comment is that of the same name above.

variable "warming_sets" {
  description = "As `warming_sets` of the root module."
  type = map(object({
    # Times of warming runs: a `cron(…)` or `rate(…)` expression of EventBridge Scheduler, in UTC.
    schedule = optional(string, "cron(0 3 * * ? *)")
    # Limit of a warming run, in minutes, from 1 to 1440. A run that exceeds it fails.
    deadline_minutes = optional(number, 120)
    # Number of snapshots that are kept, from 1 to 100.
    keep = optional(number, 3)
    # One run in this number starts with an empty tree instead of the last snapshot, which bounds the life of what a run has left behind. 0: none does.
    rebuild = optional(number, 14)
    # Program and arguments of a warming run. Null: the default command of `bazel`.
    command = optional(list(string))
    # A Bazel workspace that a run fetches and analyses: its `directory`, where jobs check out; `targets`; with `build` a run also builds them; `program` is the command. `repository` and `ref` are a shorter form of `checkout`. Null: `command` says what to run.
    bazel = optional(object({ directory = string, repository = optional(string), ref = optional(string, "HEAD"), targets = optional(list(string), ["//..."]), build = optional(bool, false), program = optional(string, "bazel") }))
    # User of the command. `root` only if named; such a set belongs to one trust level, because the command can write any block of an image that other instances mount. Null: the user of jobs.
    user = optional(string)
    # Directories that the snapshot has beside the warm directory, at the same places for runs and jobs, such as caches of tools.
    paths = optional(list(string), [])
    # `auto`: clean jobs start before the image of the snapshot is on the disk, where the rest of it would take longer than three seconds. `never`: all of it is there first.
    lazy = optional(string, "never")
    # A repository that a run checks out in `directory`, where jobs check out, before the command: `ref`; `depth` in commits, 0 for the whole history (null: 1 on GitHub Actions, 0 elsewhere); `submodules`; `credential_command`, a program of the AMI that prints credentials for git. It is a part of the snapshot. Null: none.
    checkout = optional(object({ directory = string, repository = string, ref = optional(string, "HEAD"), depth = optional(number), submodules = optional(bool, false), credential_command = optional(list(string)) }))
  }))
}

variable "resource_types" {
  description = "As `resource_types` of the root module."
  type = map(object({
    # EC2 instance type; the older form of `instance_types` for one.
    instance_type = optional(string)
    # EC2 instance types, in order of preference. Exactly one of both forms is required.
    instance_types = optional(list(string))
    # Id of the AMI.
    image_id = string
    # Size of the root volume (gp3, encrypted), in GiB, from 8 to 16384.
    root_volume_size_gb = optional(number, 100)
    # Root device of the AMI; `/dev/sda1` on Ubuntu.
    root_device_name = optional(string, "/dev/xvda")
    # Whether all instances are Spot instances.
    use_preemptible = optional(bool, false)
    # Tags of instances, volumes and groups of this type.
    tags = optional(map(string), {})
  }))
}

variable "gha_runner_groups" {
  description = "As `gha_runner_groups` of the root module."
  type = map(object({
    # Maximum number of runners, at least 0.
    max_runners = number
    # Number of runners that stay when they are idle, from 0 to `max_runners`.
    min_runners = optional(number, 0)
    # Key of `resource_types`.
    resource_type = string
    # Queue of Buildkite; label of GitHub Actions, unless `labels` has others.
    queue = string
    # Repository whose jobs the group takes, or counts, in the form `owner/name`.
    gh_repo = string
    # Where runners are registered: `repository` (that of `gh_repo`) or `organization` (its owner).
    level = optional(string, "repository")
    # Name of the runner group of the organization, with `level = "organization"`. Null: its default group.
    runner_group = optional(string)
    # Labels of the runners, 1 to 100. A job needs all labels of its `runs-on`. Null: `queue` alone.
    labels = optional(list(string))
    # Ids of the workflows whose jobs count for scaling. Empty: all.
    gha_workflow_ids = optional(list(string), [])
    # Time without a job after which a runner above the minimum terminates, in minutes, from 1 to 720.
    agent_idle_timeout_min = optional(number, 30)
    # Time after which a drain ends a running job, in minutes, from 1 to 2880. Null: the 48 hours of Auto Scaling.
    drain_timeout_min = optional(number)
    # Age at which an instance is replaced after its job, one of the minimum too, in seconds, from 3600 to 31536000. Null: no age.
    max_instance_lifetime = optional(number)
    # Whether instances whose launch template has a newer version are replaced, after their jobs and at most a tenth of the group at once.
    replace_outdated_runners = optional(bool, true)
    # `clean`: a job finds nothing of earlier jobs. `shared`: it finds what they have left.
    job_isolation = optional(string, "clean")
    # Whether jobs reach the role of the instance. Null: only in a group that is `shared`, or has `policies` other than `warming_manage`.
    jobs_use_instance_role = optional(bool)
    # Directories of the instance, such as EFS, that all jobs share, at most 20 (`clean` only).
    shared_mounts = optional(list(string), [])
    # Whether each job has a Docker daemon of its own, where the AMI has Docker (`clean` only).
    docker = optional(bool, true)
    # Use of the build cache: `off`, `read`, or `write` (jobs also store results, which all groups that read `cache_scope` trust).
    cache = optional(string, "off")
    # Trust level that the group reads first and alone writes.
    cache_scope = optional(string, "main")
    # Further scopes that the group reads, at most 4.
    cache_reads = optional(list(string), [])
    # Attributes that override those of `agents` for this group.
    agent = optional(object({ program = optional(object({ version = string, url = string, sha256 = string })), user = optional(string), directory = optional(string), work_directory = optional(string) }), {})
    # Whether runners restore the snapshot of `warming_set` at boot.
    warming = optional(bool, false)
    # Key of `warming_sets`. Null: `default`; in a warming group the set of its policy.
    warming_set = optional(string)
    # ARNs of further policies of the role, by any name. The key `warming_manage` makes the group the warming group of the set whose name or policy it has.
    policies = optional(map(string), {})
    # Ids of further security groups, by any name.
    security_groups = optional(map(string), {})
    # Tags of instances and volumes of this group.
    tags = optional(map(string), {})
    # Polls of the backlog per minute: 1, 2 or 3.
    scaling_polling_frequency = optional(number, 1)
    # Runners per job of the backlog, above 0. Null: 1.
    scale_out_factor = optional(number)
    # Whether no alarm of the group pages. A list, the form of Aspect Workflows 5.10 to 5.14, means true.
    exclude_oncall_alerts = optional(bool, false)
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
    max_runners   = number
    min_runners   = optional(number, 0)
    resource_type = string
    queue         = string
    # Number of commits in a new clone, at least 1. Null: all.
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
    # Version that instances install at boot, with the URL and the SHA-256 of its archive or program. Null: the version of the AMI.
    program = optional(object({ version = string, url = string, sha256 = string }))
    # User that runs agents and jobs. Null: `runner`.
    user = optional(string)
    # Directory of the program in the AMI. Null: `/opt/hearth/agents/<provider>`.
    directory = optional(string)
    # Directory that agents and jobs write. Null: `/var/lib/hearth-agent`.
    work_directory = optional(string)
  }))
}

variable "support" {
  description = "As `support` of the root module."
  type = object({
    # Whether SSM sessions on runners are allowed. Null: `enable_ssm_access` of the module, or false.
    enable_ssm_access = optional(bool)
    # Name of a role that gets the support policy. Null: none.
    support_role_name = optional(string)
    # Name of a role that gets the support policy and the operator policy, which allows writing secrets, redriving dead letters and revoking scopes of the build cache. Null: none.
    operator_role_name = optional(string)
    # Not supported: use the secret in the output `pagerduty_routing_secret_id`.
    pagerduty_integration_key = optional(string)
    # No effect: alarms go to your own PagerDuty account only.
    alert_aspect = optional(bool)
  })
}

variable "alarm_thresholds" {
  description = "As `alarm_thresholds` of the root module."
  type = object({
    # 90th percentile of boot times in 15 minutes, in seconds.
    boot_seconds = optional(number, 300)
    # 90th percentile of restore times in 15 minutes, in seconds.
    restore_seconds = optional(number, 300)
    # Longest drain in an hour, in seconds.
    drain_seconds = optional(number, 18000)
    # Time for which at least one job waits, in minutes.
    backlog_minutes = optional(number, 30)
    # Wait of the oldest queued job, in seconds.
    oldest_job_seconds = optional(number, 900)
    # Age of the current snapshot, in hours.
    snapshot_age_hours = optional(number, 50)
    # Size of a snapshot, in 10^9 bytes.
    snapshot_gb = optional(number, 200)
    # Failed boots in 15 minutes.
    launch_failures = optional(number, 3)
    # Agents that end without a job, in an hour.
    unused_registrations = optional(number, 200)
    # Requests of the build cache that S3 did not answer, in 15 minutes and of one group.
    cache_failures = optional(number, 5)
  })
}

variable "bundles" {
  description = "As `bundles` of the root module."
  type = object({
    # Name of the bucket. It must be in the region of the deployment.
    bucket = string
    # Prefix of the keys, with a slash at its end.
    prefix = optional(string, "")
    # SHA-256 of `bundles.json`, in hex. With another file the plan fails. Null: any file, with a warning.
    sha256 = optional(string)
  })
}

variable "access_logs" {
  description = "As `access_logs` of the root module."
  type = object({
    # Name of the bucket, in the same account and region. Its policy must allow `s3:PutObject` to logging.s3.amazonaws.com.
    bucket = string
    # Prefix of the keys. Null: the name of the snapshot bucket and a slash.
    prefix = optional(string)
  })
}

variable "build_cache" {
  description = "As `build_cache` of the root module."
  type = object({
    # Largest share of an instance's disk that the cache takes, in percent, from 1 to 50.
    disk_percent = optional(number, 10)
  })
}
