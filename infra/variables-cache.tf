# Inputs of the build cache. The cache of a group is an attribute of the group (variables-groups.tf).

variable "build_cache" {
  description = "Switches the build cache on for the groups whose `cache` is `read` or `write`. It is a prefix of the bucket and a process on each instance. `disk_percent` is the share of an instance's disk that the cache takes at most, from 1 to 50 (default: 10). Default: null, no cache."
  type        = any
  default     = null
}

variable "remote" {
  description = "The remote cache of Aspect Workflows 5.10 and later. Any value other than null means `build_cache = {}`, for the groups whose `cache` is `read` or `write`. Its attributes have no effect, since no server is sized; the plan warns of each. `remote_execution` is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "remote_cache" {
  description = "The remote cache of Aspect Workflows 5.9. Any value other than null means `build_cache = {}`, for the groups whose `cache` is `read` or `write`. Its attributes have no effect, since no server is sized; the plan warns of each. Default: null."
  type        = any
  default     = null
}

variable "experimental_remote" {
  description = "The remote cache of Aspect Workflows 5.8. Any value other than null means `build_cache = {}`, for the groups whose `cache` is `read` or `write`. Its attributes have no effect, since no server is sized; the plan warns of each. Default: null."
  type        = any
  default     = null
}
