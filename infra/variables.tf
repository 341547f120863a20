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
  # checks-names.tf refuses gl, with gl_runner_groups.
  validation {
    condition     = length(var.hosts) > 0 && length(setsubtract(var.hosts, ["gha", "cci", "bk", "gl"])) == 0
    error_message = "hosts must contain at least one of gha (GitHub Actions), cci (CircleCI) and bk (Buildkite), and nothing else. Present value: [${join(", ", var.hosts)}]."
  }
}

variable "warming_sets" {
  description = "Map from name to warming set. `schedule` (UTC; default: daily at 03:00) starts a warming run on the set's warming group. The run executes `command`, or the default command for a `bazel` workspace, as `user` (default: the user of jobs; `root` only if named), and saves a snapshot. `paths` are directories that the snapshot has beside the warm directory, at the same places for runs and jobs, such as caches of tools (default: none). `checkout` is a repository that a run checks out in `directory`, where jobs check out, before the command: `ref` (default: `HEAD`), `depth` in commits, 0 for the whole history (default: 1 on GitHub Actions, 0 elsewhere), `submodules` (default: false), and `credential_command`, a program of the AMI that prints credentials for git (default: none). It is a part of the snapshot. `repository` and `ref` of `bazel` are a shorter form of it. A set whose command has root or Docker belongs to one trust level: its command can write any block of an image that other instances mount. A set with a warming group needs `command` or `bazel`. `lazy = \"auto\"` lets clean jobs start before the image of the snapshot is on the disk, where the rest of it would take longer than three seconds (default: `never`). `deadline_minutes` limits a run (default: 120). `keep` is the number of snapshots that are kept (default: 3). One run in `rebuild` starts with an empty tree instead of the last snapshot, which bounds the life of what a run has left behind; 0: none does (default: 14). Default: no sets."
  type        = any
  default     = {}
  nullable    = false
}

variable "resource_types" {
  description = "Map from name to type of instance. `instance_types` lists EC2 instance types in order of preference; `instance_type` is the older form for one. `use_preemptible` selects Spot instances (default: false). `root_volume_size_gb` is in GiB (default: 100). `root_device_name` must be the root device of the AMI (default: `/dev/xvda`; `/dev/sda1` on Ubuntu)."
  type        = any
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource that supports tags, including instances and volumes. Default: none."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "aws:") && key != "created-by"])
    error_message = "tags must not contain keys that begin with aws:, which AWS reserves, nor the key created-by, which the module sets to hearth."
  }
}

variable "cost_allocation_tag" {
  description = "Key of the cost allocation tag of every resource. Default: `hearth-deployment`."
  type        = string
  default     = "hearth-deployment"
}

variable "cost_allocation_tag_value" {
  description = "Value of the cost allocation tag. Default: null, which uses `customer_id`."
  type        = string
  default     = null
}
