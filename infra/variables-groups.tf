# Runner groups. checks.tf has the rules that span several variables; they apply to all three variables.

variable "gha_runner_groups" {
  description = "Map from name to runner group on GitHub Actions. `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. Default: no groups."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    queue                     = string
    gh_repo                   = string
    gha_workflow_ids          = optional(list(string), [])
    agent_idle_timeout_min    = optional(number, 30)
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
  default = {}
}

variable "cci_runner_groups" {
  description = "Map from name to runner group on CircleCI. The group's secret contains the resource class and the tokens. `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. Default: no groups."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    agent_idle_timeout_min    = optional(number, 30)
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
  default = {}
}

variable "bk_runner_groups" {
  description = "Map from name to runner group on Buildkite. `warming = true` restores the snapshot of `warming_set` (default: `default`) at boot. The key `warming_manage` in `policies` makes the group the warming group of that set. `agent_idle_timeout_min` is in minutes, `scaling_polling_frequency` is polls per minute. Default: no groups."
  type = map(object({
    max_runners               = number
    min_runners               = optional(number, 0)
    resource_type             = string
    queue                     = string
    git_clone_depth           = optional(number)
    agent_idle_timeout_min    = optional(number, 30)
    warming                   = optional(bool, false)
    warming_set               = optional(string)
    policies                  = optional(map(string), {})
    security_groups           = optional(map(string), {})
    tags                      = optional(map(string), {})
    scaling_polling_frequency = optional(number, 1)
    scale_out_factor          = optional(number)
    exclude_oncall_alerts     = optional(bool, false)
  }))
  default = {}
}
