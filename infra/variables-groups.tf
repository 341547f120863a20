# Runner groups. checks.tf has the rules that span several variables; they apply to all three variables.

variable "gha_runner_groups" {
  description = "Map from name to runner group on GitHub Actions: how many runners of which type take jobs of which repository and labels, and how jobs are isolated. The README and modules/inputs/variables.tf have the attributes, with effect, unit and default. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.gha_runner_groups) : can(keys(one))]), false)
    error_message = "gha_runner_groups must be a map from names to objects: gha_runner_groups = { default = { max_runners = 2, … } }. Each value has braces of its own, and none is null."
  }
}

variable "cci_runner_groups" {
  description = "Map from name to runner group on CircleCI. The group's secret contains the resource class, which selects the jobs, and its tokens. The README and modules/inputs/variables.tf have the attributes, with effect, unit and default. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.cci_runner_groups) : can(keys(one))]), false)
    error_message = "cci_runner_groups must be a map from names to objects: cci_runner_groups = { default = { max_runners = 2, … } }. Each value has braces of its own, and none is null."
  }
}

variable "bk_runner_groups" {
  description = "Map from name to runner group on Buildkite: how many runners of which type take jobs of which queue, and how jobs are isolated. The README and modules/inputs/variables.tf have the attributes, with effect, unit and default. Default: no groups."
  type        = any
  default     = {}
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.bk_runner_groups) : can(keys(one))]), false)
    error_message = "bk_runner_groups must be a map from names to objects: bk_runner_groups = { default = { max_runners = 2, … } }. Each value has braces of its own, and none is null."
  }
}

variable "agents" {
  description = "Map from CI provider (`gha`, `cci`, `bk`) to the agent of its runner groups: its version, its user and its directories. The README and modules/inputs/variables.tf have the attributes, with effect and default. Default: the version of the AMI, as the user `runner`."
  type        = any
  default     = {}
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.agents) : can(keys(one))]), false)
    error_message = "agents must be a map from CI providers to objects: agents = { gha = { user = \"ci\" } }. Each value has braces of its own, and none is null."
  }
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
  nullable    = false
  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?$", var.circleci_api_url))
    error_message = "circleci_api_url must be https:// and a host name, without a path. A token must not be sent unencrypted."
  }
}
