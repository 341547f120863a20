# Runner groups. checks.tf has the rules that span several variables; they apply to all three variables.

variable "gha_runner_groups" {
  description = "Map from name to runner group on GitHub Actions. Runners have the `labels` (default: `queue` alone) and take jobs of `gh_repo` (`owner/name`); with `level = \"organization\"` they belong to the organization `owner`, and to its runner group `runner_group` (default: the default group). `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. `drain_timeout_min` ends a drain, and with it a job that still runs, after that many minutes (default: no limit but the 48 hours of Auto Scaling). `max_instance_lifetime` is the age in seconds at which an instance is replaced after its job, one of the minimum too (default: none). `replace_outdated_runners` replaces instances whose launch template has a newer version, after their jobs and at most a tenth of the group at once (default: true). `job_isolation` is `clean` (a job finds nothing of earlier jobs) or `shared` (jobs find what earlier ones have left). `jobs_use_instance_role` lets jobs use the role of the instance (default: true if the group has `policies` other than `warming_manage`, or is `shared`). `shared_mounts` are directories of the instance, such as EFS, that all jobs share (`clean` only). `docker` gives each job a Docker daemon of its own, where the image has Docker. `cache` is the use of the build cache: `off`, `read`, or `write` (jobs also store results, which all groups that read `cache_scope` trust). `cache_scope` is the trust level that the group reads first and alone writes (default: `main`), `cache_reads` are further scopes that it reads (default: none). `agent` overrides attributes of `agents`. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
}

variable "cci_runner_groups" {
  description = "Map from name to runner group on CircleCI. The group's secret contains the resource class and the tokens. `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. `drain_timeout_min` ends a drain, and with it a job that still runs, after that many minutes (default: no limit but the 48 hours of Auto Scaling). `max_instance_lifetime` is the age in seconds at which an instance is replaced after its job, one of the minimum too (default: none). `replace_outdated_runners` replaces instances whose launch template has a newer version, after their jobs and at most a tenth of the group at once (default: true). `job_isolation` is `clean` (a job finds nothing of earlier jobs) or `shared` (jobs find what earlier ones have left). `jobs_use_instance_role` lets jobs use the role of the instance (default: true if the group has `policies` other than `warming_manage`, or is `shared`). `shared_mounts` are directories of the instance, such as EFS, that all jobs share (`clean` only). `docker` gives each job a Docker daemon of its own, where the image has Docker. `cache` is the use of the build cache: `off`, `read`, or `write` (jobs also store results, which all groups that read `cache_scope` trust). `cache_scope` is the trust level that the group reads first and alone writes (default: `main`), `cache_reads` are further scopes that it reads (default: none). `agent` overrides attributes of `agents`. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
}

variable "bk_runner_groups" {
  description = "Map from name to runner group on Buildkite. `git_clone_depth` is the number of commits in a new clone (default: all). `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. `drain_timeout_min` ends a drain, and with it a job that still runs, after that many minutes (default: no limit but the 48 hours of Auto Scaling). `max_instance_lifetime` is the age in seconds at which an instance is replaced after its job, one of the minimum too (default: none). `replace_outdated_runners` replaces instances whose launch template has a newer version, after their jobs and at most a tenth of the group at once (default: true). `job_isolation` is `clean` (a job finds nothing of earlier jobs) or `shared` (jobs find what earlier ones have left). `jobs_use_instance_role` lets jobs use the role of the instance (default: true if the group has `policies` other than `warming_manage`, or is `shared`). `shared_mounts` are directories of the instance, such as EFS, that all jobs share (`clean` only). `docker` gives each job a Docker daemon of its own, where the image has Docker. `cache` is the use of the build cache: `off`, `read`, or `write` (jobs also store results, which all groups that read `cache_scope` trust). `cache_scope` is the trust level that the group reads first and alone writes (default: `main`), `cache_reads` are further scopes that it reads (default: none). `agent` overrides attributes of `agents`. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
}

variable "agents" {
  description = "Map from CI provider (`gha`, `cci`, `bk`) to the agent of its runner groups. `program` is the version that instances install at boot, with the URL and the SHA-256 of its archive or program (default: the version of the AMI). `user` runs agents and jobs (default: `runner`). `directory` has the program in the AMI (default: `/opt/hearth/agents/<provider>`). `work_directory` is what agents and jobs write (default: `/var/lib/hearth-agent`). Default: none."
  type        = any
  default     = {}
  nullable    = false
}

variable "ghes_url" {
  description = "URL of your GitHub Enterprise Server (`https://github.example.com`) or of your tenant of ghe.com (`https://example.ghe.com`), without a path. Default: null, which is github.com."
  type        = string
  default     = null
  validation {
    condition     = var.ghes_url == null ? true : can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?/?$", var.ghes_url)) && !can(regex("^https://(api\\.)?github\\.com/?$", var.ghes_url))
    error_message = "ghes_url must be https:// and the host name of your GitHub Enterprise Server or ghe.com tenant, without a path. For github.com remove it. A private key must not sign in to another host."
  }
}

variable "circleci_api_url" {
  description = "URL of the runner API of CircleCI. For CircleCI server it is the URL of the server, without a path. Default: `https://runner.circleci.com`."
  type        = string
  default     = "https://runner.circleci.com"
  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?$", var.circleci_api_url))
    error_message = "circleci_api_url must be https:// and a host name, without a path. A token must not be sent unencrypted."
  }
}
