# Rules about the values of one input with attributes. See checks.tf.

resource "terraform_data" "values" {
  lifecycle {
    precondition {
      condition     = alltrue([for name in keys(module.inputs.warming_sets) : can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])
      error_message = "The name of a warming set becomes part of S3 keys and schedule names. It must have 1 to 32 lower-case letters, digits and inner - or _. Wrong: ${join(", ", [for name in keys(module.inputs.warming_sets) : name if !can(regex("^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", name))])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : can(regex(local.schedule, set.schedule))])
      error_message = "The schedule of a warming set must be a cron(…) expression of EventBridge Scheduler, which has six fields, or rate(…) with minutes, hours or days. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if !can(regex(local.schedule, set.schedule))])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes])
      error_message = "deadline_minutes of a warming set must be a whole number from 1 to 1440. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if !(set.deadline_minutes >= 1 && set.deadline_minutes <= 1440 && floor(set.deadline_minutes) == set.deadline_minutes)])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep])
      error_message = "keep of a warming set must be a whole number of snapshots from 1 to 100. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if !(set.keep >= 1 && set.keep <= 100 && floor(set.keep) == set.keep)])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.rebuild >= 0 && set.rebuild <= 1000 && floor(set.rebuild) == set.rebuild])
      error_message = "rebuild of a warming set is a number of runs and must be a whole number from 0 to 1000. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if !(set.rebuild >= 0 && set.rebuild <= 1000 && floor(set.rebuild) == set.rebuild)])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.command == null ? true : try(set.command[0], "") != ""])
      error_message = "The command of a warming set is a list of a program and its arguments. Empty in: ${join(", ", [for name, set in module.inputs.warming_sets : name if set.command == null ? false : try(set.command[0], "") == ""])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.command == null || set.bazel == null])
      error_message = "A warming set must not have both command and bazel. Both in: ${join(", ", [for name, set in module.inputs.warming_sets : name if set.command != null && set.bazel != null])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.bazel == null ? true : startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-")])
      error_message = "bazel of a warming set needs an absolute path in directory, at least one target in targets, and a repository and ref that do not begin with -. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if set.bazel == null ? false : !(startswith(set.bazel.directory, "/") && length(set.bazel.targets) > 0 && !startswith(set.bazel.ref, "-") && !startswith(coalesce(set.bazel.repository, "none"), "-"))])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : set.user == null ? true : can(regex("^[a-z_][a-z0-9_-]*$", set.user))])
      error_message = "user of a warming set must be a user name, such as that of jobs. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if set.user == null ? false : !can(regex("^[a-z_][a-z0-9_-]*$", set.user))])}."
    }
    precondition {
      condition     = alltrue([for set in values(module.inputs.warming_sets) : contains(["never", "auto"], set.lazy)])
      error_message = "lazy of a warming set must be never or auto. Wrong in: ${join(", ", [for name, set in module.inputs.warming_sets : name if !contains(["never", "auto"], set.lazy)])}."
    }
    precondition {
      condition     = alltrue([for type in values(module.inputs.resource_types) : (type.instance_type != null) != (try(length(type.instance_types), 0) > 0)])
      error_message = "A resource type must have exactly one of instance_types (a list) and instance_type (a string, the older form). Wrong in: ${join(", ", [for name, type in module.inputs.resource_types : name if(type.instance_type != null) == (try(length(type.instance_types), 0) > 0)])}."
    }
    precondition {
      condition     = alltrue([for type in values(module.inputs.resource_types) : type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384])
      error_message = "root_volume_size_gb must be from 8 to 16384 (the limit of gp3 volumes). Wrong in: ${join(", ", [for name, type in module.inputs.resource_types : name if !(type.root_volume_size_gb >= 8 && type.root_volume_size_gb <= 16384)])}."
    }
    precondition {
      condition     = length(setsubtract(keys(module.inputs.agents), ["gha", "cci", "bk"])) == 0
      error_message = "agents must have no other keys than gha, cci and bk. Wrong: ${join(", ", setsubtract(keys(module.inputs.agents), ["gha", "cci", "bk"]))}."
    }
    precondition {
      condition     = module.inputs.bundles == null ? true : module.inputs.bundles.prefix == "" || endswith(module.inputs.bundles.prefix, "/")
      error_message = "bundles.prefix must be empty or end with a slash."
    }
    precondition {
      condition     = module.inputs.build_cache == null ? true : module.inputs.build_cache.disk_percent >= 1 && module.inputs.build_cache.disk_percent <= 50
      error_message = "build_cache.disk_percent must be from 1 to 50."
    }
  }
}

locals {
  # EventBridge Scheduler User Guide, "Schedule types". A one-time schedule, at(…), would make one snapshot.
  schedule = "^(cron\\([0-9A-Za-z,*?/#-]+( +[0-9A-Za-z,*?/#-]+){5}\\)|rate\\([1-9][0-9]* +(minute|hour|day)s?\\))$"
}
