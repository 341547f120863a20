# What a fleet is made of. The names are those that users of Aspect Workflows already write.

variable "customer_id" {
  description = "Name of the deployment, for people: in the parameter tree and as the value of the cost tag."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9 +=._:/@-]{0,127}$", var.customer_id))
    error_message = "customer_id is written into tags: 1 to 128 letters, digits, spaces or any of + - = . _ : / @, beginning with a letter or digit."
  }
}

variable "name_prefix" {
  description = "First part of every name, and root of the parameter tree."
  type        = string
  default     = "aw"
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,10}$", var.name_prefix)) && !can(regex("^(aws|ssm|amzn|xn|sthree)", var.name_prefix))
    error_message = "name_prefix \"${var.name_prefix}\" would be refused by AWS in some name: it needs 1 to 11 lower-case letters and digits, a letter first, and must not begin with aws, ssm, amzn, xn or sthree."
  }
}

variable "vpc_id" {
  description = "VPC of the runners."
  type        = string
  validation {
    condition     = can(regex("^vpc-", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC, vpc-…."
  }
}

variable "vpc_subnets" {
  description = "Subnets of the runners. They need a way out to AWS and to the CI host: NAT or endpoints."
  type        = list(string)
  validation {
    condition     = length(var.vpc_subnets) > 0
    error_message = "vpc_subnets is empty: name at least one subnet for the runners."
  }
}

variable "vpc_subnets_public" {
  description = "Accepted for configurations that have it. Nothing is placed in public subnets."
  type        = list(string)
  default     = []
}

variable "hosts" {
  description = "CI hosts in use: any of gha, cci, bk."
  type        = list(string)
  validation {
    condition     = length(var.hosts) > 0 && length(setsubtract(var.hosts, ["gha", "cci", "bk"])) == 0
    error_message = "hosts must name at least one of gha (GitHub Actions), cci (CircleCI) and bk (Buildkite), and nothing else; it has [${join(", ", var.hosts)}]."
  }
}

variable "warming_sets" {
  description = "Cache states worth restoring, by name. `schedule` (UTC) starts a run on the set's warming group; there `command`, or the default for a `bazel` workspace, makes the snapshot with the rights of `user`. With neither a job of the CI host has to call `aw-runner snapshot save`."
  type = map(object({
    schedule         = optional(string, "cron(0 3 * * ? *)")
    deadline_minutes = optional(number, 120)
    keep             = optional(number, 3)
    command          = optional(list(string))
    bazel            = optional(object({ directory = string, repository = optional(string), ref = optional(string, "HEAD"), targets = optional(list(string), ["//..."]), build = optional(bool, false), program = optional(string, "bazel") }))
    user             = optional(string)
  }))
  default = {}
  validation {
    condition     = alltrue([for name in keys(var.warming_sets) : can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])
    error_message = "A warming set becomes a folder of the bucket and part of a schedule's name: 1 to 32 lower-case letters, digits and inner - or _. Wrong: ${join(", ", [for name in keys(var.warming_sets) : name if !can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : can(regex("^(cron|rate)\\([0-9A-Za-z ,*?/#-]+\\)$", set.schedule))])
    error_message = "schedule of a warming set must be a cron(…) or rate(…) expression of EventBridge Scheduler. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !can(regex("^(cron|rate)\\([0-9A-Za-z ,*?/#-]+\\)$", set.schedule))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes])
    error_message = "deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !(set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep])
    error_message = "keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if !(set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep)])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.command == null ? true : length(set.command) > 0])
    error_message = "command of a warming set is a program and its arguments; leave it out if a CI job makes the snapshot. Empty in: ${join(", ", [for name, set in var.warming_sets : name if set.command == null ? false : length(set.command) == 0])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.command == null || set.bazel == null])
    error_message = "A warming set has either a command or bazel. Both in: ${join(", ", [for name, set in var.warming_sets : name if set.command != null && set.bazel != null])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.bazel == null ? true : startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-")])
    error_message = "bazel of a warming set needs the absolute path of the workspace as directory, at least one of targets, and a repository and ref that do not begin with -. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if set.bazel == null ? false : !(startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-"))])}."
  }
  validation {
    condition     = alltrue([for set in values(var.warming_sets) : set.user == null ? true : can(regex("^[a-z_][a-z0-9_-]*$", set.user))])
    error_message = "user of a warming set must be the name of a user of the image. Wrong in: ${join(", ", [for name, set in var.warming_sets : name if set.user == null ? false : !can(regex("^[a-z_][a-z0-9_-]*$", set.user))])}."
  }
}

variable "resource_types" {
  description = "Kinds of machine, by name. `instance_types` in the order of preference (`instance_type` is the older form for one); `use_preemptible` takes Spot instances; `root_device_name` is the image's (`/dev/sda1` on Ubuntu)."
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
    error_message = "A resource type has either instance_types, a list, or the older instance_type, one string. Wrong in: ${join(", ", [for name, type in var.resource_types : name if(type.instance_type != null) == (try(length(type.instance_types), 0) > 0)])}."
  }
  validation {
    condition     = alltrue([for type in values(var.resource_types) : type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384])
    error_message = "root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: ${join(", ", [for name, type in var.resource_types : name if !(type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384)])}."
  }
}

variable "tags" {
  description = "Tags of everything that can have one, instances and volumes included."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "aws:") && key != "created-by"])
    error_message = "tags must not have keys that begin with aws:, which AWS keeps for itself, nor created-by, which is always hearth."
  }
}

variable "cost_allocation_tag" {
  description = "Key of the cost tag that everything gets."
  type        = string
  default     = "hearth-deployment"
}

variable "cost_allocation_tag_value" {
  description = "Value of the cost tag; `customer_id` if not given."
  type        = string
  default     = null
}
