# Runner groups. Rules that need more than one variable stand in checks.tf, since they hold for all three alike.

variable "gha_runner_groups" {
  description = "Runner groups on GitHub Actions, by name. `warming` boots from `warming_set` (`default` if not named); `policies` with the key `warming_manage` makes it the set's warming group."
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
  description = "Runner groups on CircleCI (the resource class and tokens are in the group's secret), by name. `warming` boots from `warming_set` (`default` if not named); `policies` with the key `warming_manage` makes it the set's warming group."
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
  description = "Runner groups on Buildkite, by name. `warming` boots from `warming_set` (`default` if not named); `policies` with the key `warming_manage` makes it the set's warming group."
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
