# The fleet. Names and types are those of Aspect Workflows.

variable "customer_id" {
  description = "Human-readable name of the deployment. It appears in the parameter tree and is the default value of the cost allocation tag."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9 +=._:/@-]{0,127}$", var.customer_id))
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
  description = "Id of the VPC of the runners."
  type        = string
  validation {
    condition     = can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC and begin with vpc-."
  }
}

variable "vpc_subnets" {
  description = "Ids of the subnets of the runners. Each subnet needs a route to AWS and to the CI provider (NAT or VPC endpoints)."
  type        = list(string)
  validation {
    condition     = length(var.vpc_subnets) > 0
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
  validation {
    condition     = length(var.hosts) > 0 && length(setsubtract(var.hosts, ["gha", "cci", "bk"])) == 0
    error_message = "hosts must contain at least one of gha (GitHub Actions), cci (CircleCI) and bk (Buildkite), and nothing else. Present value: [${join(", ", var.hosts)}]."
  }
}

variable "warming_sets" {
  description = "Map from name to warming set. `schedule` (UTC; default: daily at 03:00) starts a warming run on the set's warming group. The run executes `command`, or the default command for a `bazel` workspace, as `user` (default: the user of jobs; `root` only if named), and saves a snapshot. `paths` are directories that the snapshot has beside the warm directory, at the same places for runs and jobs, such as caches of tools (default: none). `checkout` is a repository that a run checks out in `directory`, where jobs check out, before the command: `ref` (default: `HEAD`), `depth` in commits, 0 for the whole history (default: 1 on GitHub Actions, 0 elsewhere), `submodules` (default: false), and `credential_command`, a program of the AMI that prints credentials for git (default: none). It is a part of the snapshot. `repository` and `ref` of `bazel` are a shorter form of it. A set whose command has root or Docker belongs to one trust level: its command can write any block of an image that other instances mount. A set with a warming group needs `command` or `bazel`. `lazy = \"auto\"` lets clean jobs start before the image of the snapshot is on the disk, where the rest of it would take longer than three seconds (default: `never`). `deadline_minutes` limits a run (default: 120). `keep` is the number of snapshots that are kept (default: 3). `rebuild` is a number of runs: each run of that number starts with an empty tree instead of the last snapshot, which bounds the life of what a run has left behind; 0: none does (default: 14). Default: no sets."
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
  default = {}
  validation {
    condition     = alltrue([for name in keys(var.warming_sets) : can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])
    error_message = "The name of a warming set becomes part of S3 keys and schedule names. It must have 1 to 32 lower-case letters, digits and inner - or _. Wrong: ${join(", ", [for name in keys(var.warming_sets) : name if !can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : can(regex("^(cron|rate)\\([0-9A-Za-z ,*?/#-]+\\)$", set.schedule))])
    error_message = "The schedule of a warming set must be a cron(…) or rate(…) expression of EventBridge Scheduler. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !can(regex("^(cron|rate)\\([0-9A-Za-z ,*?/#-]+\\)$", set.schedule))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes])
    error_message = "deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !(set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : contains(["never", "auto"], set.lazy)])
    error_message = "lazy of a warming set must be never or auto. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !contains(["never", "auto"], set.lazy)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep])
    error_message = "keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !(set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.rebuild >= 0 && set.rebuild <= 1000 && floor(set.rebuild) == set.rebuild])
    error_message = "rebuild of a warming set is a number of runs and must be a whole number from 0 to 1000. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !(set.rebuild >= 0 && set.rebuild <= 1000 && floor(set.rebuild) == set.rebuild)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.command == null ? true : length(set.command) > 0])
    error_message = "The command of a warming set is a list of a program and its arguments. Empty in: ${join(", ", [for name, set in var.warming_sets : name if set.command == null ? false : length(set.command) == 0])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.command == null || set.bazel == null])
    error_message = "A warming set must not have both command and bazel. Both in: ${join(", ", [for name, set in var.warming_sets : name if set.command != null && set.bazel != null])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.bazel == null ? true : startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-")])
    error_message = "bazel of a warming set needs an absolute path in directory, at least one target in targets, and a repository and ref that do not begin with -. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if set.bazel == null ? false : !(startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-"))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.user == null ? true : can(regex("^[a-z_][a-z0-9_-]*$", set.user))])
    error_message = "user of a warming set must be a user name, such as that of jobs. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if set.user == null ? false : !can(regex("^[a-z_][a-z0-9_-]*$", set.user))])}."
  }
}

variable "resource_types" {
  description = "Map from name to type of instance. `instance_types` lists EC2 instance types in order of preference; `instance_type` is the older form for one. `use_preemptible` selects Spot instances (default: false). `root_volume_size_gb` is in GiB (default: 100). `root_device_name` must be the root device of the AMI (default: `/dev/xvda`; `/dev/sda1` on Ubuntu)."
  type = map(object({
    instance_type       = optional(string)
    instance_types      = optional(list(string))
    image_id            = string
    root_volume_size_gb = optional(number, 100)
    root_device_name    = optional(string, "/dev/xvda")
    use_preemptible     = optional(bool, false)
    tags                = optional(map(string), {})
  }))
  validation {
    condition     = alltrue([for type in values(var.resource_types) : (type.instance_type != null) != (try(length(type.instance_types), 0) > 0)])
    error_message = "A resource type must have exactly one of instance_types (a list) and instance_type (a string, the older form). Wrong in: ${join(", ", [for name, type in var.resource_types : name if(type.instance_type != null) == (try(length(type.instance_types), 0) > 0)])}."
  }
  validation {
    condition     = alltrue([for type in values(var.resource_types) : type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384])
    error_message = "root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: ${join(", ", [for name, type in var.resource_types : name if !(type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384)])}."
  }
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
