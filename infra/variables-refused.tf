# Inputs of parts that this module does not have. Terraform would ignore them inside of an object and call them unknown at
# the top; each is declared so that it is refused with what to do instead.

variable "aspect_artifacts_bucket" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.aspect_artifacts_bucket == null
    error_message = "aspect_artifacts_bucket: the bundles are in dist beside the module, or in the bucket that bundles names. Remove it."
  }
}

variable "remote_cache" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.remote_cache == null
    error_message = "remote_cache: this module has no remote cache. Remove it, and point --remote_cache at one that you run, such as bazel-remote."
  }
}

variable "external_remote_cache" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.external_remote_cache == null
    error_message = "external_remote_cache: this module has no remote cache. Remove it, and point --remote_cache at one that you run, such as bazel-remote."
  }
}

variable "remote" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.remote == null
    error_message = "remote: this module has no remote cache. Remove it, and point --remote_cache at one that you run, such as bazel-remote."
  }
}

variable "delivery_enabled" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.delivery_enabled == null ? true : !tobool(var.delivery_enabled)
    error_message = "delivery_enabled: this module has no delivery. Remove it, and deliver from a job of your CI host."
  }
}

variable "delivery" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.delivery == null
    error_message = "delivery: this module has no delivery. Remove it, and deliver from a job of your CI host."
  }
}

variable "monitoring" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.monitoring == null
    error_message = "monitoring: metrics, alarms and the dashboard are in CloudWatch, and always there. Remove it."
  }
}

variable "monitoring_enabled" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.monitoring_enabled == null
    error_message = "monitoring_enabled: metrics, alarms and the dashboard are in CloudWatch, and always there. Remove it."
  }
}

variable "gl_runner_groups" {
  description = "Refused."
  type        = any
  default     = null
  validation {
    condition     = var.gl_runner_groups == null
    error_message = "gl_runner_groups: GitLab is not supported. Remove it; hosts are gha, cci and bk."
  }
}

variable "pagerduty_integration_key" {
  description = "Refused."
  type        = string
  default     = null
  # Refused in checks.tf: a rule here would repeat the key in its refusal.
}
