# Inputs of the build cache. The cache of a group is an attribute of the group (variables-groups.tf).

variable "build_cache" {
  description = "Switches the build cache on for the groups whose `cache` is `read` or `write`. It is a prefix of the bucket and a process on each instance. `disk_percent` is the share of an instance's disk that the cache takes at most, from 1 to 50 (default: 10). Default: null, no cache."
  type        = object({ disk_percent = optional(number, 10) })
  default     = null
  validation {
    condition     = var.build_cache == null ? true : var.build_cache.disk_percent >= 1 && var.build_cache.disk_percent <= 50
    error_message = "build_cache.disk_percent must be from 1 to 50."
  }
}

variable "remote" {
  description = "The remote cache of Aspect Workflows 5.10 and later. Any value other than null means `build_cache = {}`, for the groups whose `cache` is `read` or `write`. `frontend`, `storage` and `cache` have no effect, since no server is sized; the plan warns of each. `remote_execution` is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.remote == null ? true : try(var.remote.remote_execution, null) == null
    error_message = "remote.remote_execution is not supported: this module has a build cache and no remote execution. Remove it."
  }
  validation {
    condition     = var.remote == null ? true : length(setsubtract(keys(var.remote), ["frontend", "storage", "cache", "remote_execution"])) == 0
    error_message = "remote has attributes that this module does not know: ${join(", ", try(setsubtract(keys(var.remote), ["frontend", "storage", "cache", "remote_execution"]), []))}. Remove them. build_cache = {} is the same as remote = {}."
  }
}

variable "remote_cache" {
  description = "The remote cache of Aspect Workflows 5.9. Any value other than null means `build_cache = {}`, for the groups whose `cache` is `read` or `write`. Its attributes have no effect, since no server is sized; the plan warns of each. Attributes for remote execution or an external cache are an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.remote_cache == null ? true : length([for name in keys(var.remote_cache) : name if can(regex("execution|external", name))]) == 0
    error_message = "remote_cache has attributes for remote execution or an external cache, which are not supported: ${join(", ", try([for name in keys(var.remote_cache) : name if can(regex("execution|external", name))], []))}. Remove them."
  }
}

variable "external_remote_cache" {
  description = "Not supported: use `build_cache`, or name an external cache in the rc file of the repository. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.external_remote_cache == null
    error_message = "external_remote_cache is not supported: the module has a cache of its own (build_cache). Remove it. To use a cache that you run, such as bazel-remote, set --remote_cache in the .bazelrc of your repository, which takes precedence."
  }
}
