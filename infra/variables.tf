# The fleet. Names and types are those of Aspect Workflows.

variable "customer_id" {
  description = "Human-readable name of the deployment. It appears in the parameter tree and is the default value of the cost allocation tag. Required."
  type        = string
  default     = null
  validation {
    condition     = var.customer_id == null ? true : can(regex("^[A-Za-z0-9][A-Za-z0-9 +=._:/@-]{0,127}$", var.customer_id))
    error_message = "customer_id becomes the value of a tag. It must have 1 to 128 letters, digits, spaces or any of + - = . _ : / @, and begin with a letter or digit."
  }
}

variable "name_prefix" {
  description = "First part of the name of every resource, and root of the parameter tree (`/<name_prefix>`). Default: `aw`."
  type        = string
  default     = "aw"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,10}$", var.name_prefix)) && !can(regex("^(aws|ssm|amzn|xn|sthree)", var.name_prefix))
    error_message = "name_prefix \"${var.name_prefix}\" is not valid in all AWS names. It must have 1 to 11 lower-case letters and digits, start with a letter, and must not begin with aws, ssm, amzn, xn or sthree."
  }
}

variable "vpc_id" {
  description = "Id of the VPC of the runners. Required."
  type        = string
  default     = null
  validation {
    condition     = var.vpc_id == null ? true : can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC and begin with vpc-."
  }
}

variable "vpc_subnets" {
  description = "Ids of the subnets of the runners. Each subnet needs a route to AWS and to the CI provider (NAT or VPC endpoints). Required."
  type        = list(string)
  default     = null
  validation {
    condition     = var.vpc_subnets == null ? true : length(var.vpc_subnets) > 0
    error_message = "vpc_subnets is empty. Name at least one subnet for the runners."
  }
}

variable "vpc_subnets_public" {
  description = "Has no effect; accepted for compatibility. The module places nothing in public subnets. Default: none."
  type        = list(string)
  default     = []
}

variable "hosts" {
  description = "CI providers in use: `gha` (GitHub Actions), `cci` (CircleCI), `bk` (Buildkite)."
  type        = list(string)
  nullable    = false
  # checks-names.tf refuses gl, with gl_runner_groups.
  validation {
    condition     = length(var.hosts) > 0 && length(setsubtract(var.hosts, ["gha", "cci", "bk", "gl"])) == 0
    error_message = "hosts must contain at least one of gha (GitHub Actions), cci (CircleCI) and bk (Buildkite), and nothing else. Present value: [${join(", ", var.hosts)}]."
  }
}

variable "warming_sets" {
  description = "Map from name to warming set: what a warming run executes, as whom and when, and which directories its snapshot has. A set with a warming group needs `command` or `bazel`. The README and modules/inputs/variables.tf have the attributes, with effect, unit and default. Default: no sets."
  type        = any
  default     = {}
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.warming_sets) : can(keys(one))]), false)
    error_message = "warming_sets must be a map from names to objects: warming_sets = { default = { command = [\"…\"] } }. Each value has braces of its own, and none is null."
  }
}

variable "resource_types" {
  description = "Map from name to type of instance: EC2 instance types, AMI and volume. The README and modules/inputs/variables.tf have the attributes, with effect, unit and default. Each type needs an AMI, and `instance_types` or its older form `instance_type`."
  type        = any
  nullable    = false
  validation {
    condition     = try(alltrue([for one in values(var.resource_types) : can(keys(one))]), false)
    error_message = "resource_types must be a map from names to objects: resource_types = { default = { instance_types = [\"…\"], image_id = \"ami-…\" } }. Each value has braces of its own, and none is null."
  }
}

variable "tags" {
  description = "Tags of every resource that supports tags, including instances and volumes. Default: none."
  type        = map(string)
  default     = {}
  nullable    = false
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "aws:") && key != "created-by"])
    error_message = "tags must not contain keys that begin with aws:, which AWS reserves, nor the key created-by, which the module sets to hearth."
  }
}

variable "cost_allocation_tag" {
  description = "Key of the cost allocation tag of every resource. Default: `hearth-deployment`."
  type        = string
  default     = "hearth-deployment"
  nullable    = false
}

variable "cost_allocation_tag_value" {
  description = "Value of the cost allocation tag. Default: null, which uses `customer_id`."
  type        = string
  default     = null
}
