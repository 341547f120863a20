# Inputs of Aspect Workflows that this module does not support. Each is declared, so that the plan names it and says what to
# do instead. Without the declaration Terraform only reports an unknown argument.

variable "aspect_artifacts_bucket" {
  description = "Not supported: use `bundles`. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.aspect_artifacts_bucket == null
    error_message = "aspect_artifacts_bucket is not supported: the module takes the bundles from dist beside itself, or from the bucket in bundles. Remove it."
  }
}

variable "delivery_enabled" {
  description = "Not supported: the module has no delivery. Any value other than null or false is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.delivery_enabled == null ? true : !tobool(var.delivery_enabled)
    error_message = "delivery_enabled is not supported: this module has no delivery. Remove it, and deliver from a CI job."
  }
}

variable "delivery" {
  description = "Not supported: the module has no delivery. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.delivery == null
    error_message = "delivery is not supported: this module has no delivery. Remove it, and deliver from a CI job."
  }
}

variable "monitoring" {
  description = "Not supported: CloudWatch monitoring is always on. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.monitoring == null
    error_message = "monitoring is not supported: metrics, alarms and the dashboard in CloudWatch are always on. Remove it."
  }
}

variable "monitoring_enabled" {
  description = "Not supported: CloudWatch monitoring is always on. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.monitoring_enabled == null
    error_message = "monitoring_enabled is not supported: metrics, alarms and the dashboard in CloudWatch are always on. Remove it."
  }
}

variable "gl_runner_groups" {
  description = "Not supported: GitLab is not supported. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
  validation {
    condition     = var.gl_runner_groups == null
    error_message = "gl_runner_groups is not supported: this module has no GitLab runners. Remove it. Supported hosts are gha, cci and bk."
  }
}

variable "pagerduty_integration_key" {
  description = "Not supported: use the secret in the output `pagerduty_routing_secret_id`. Any value other than null is an error at plan time. Default: null."
  type        = string
  default     = null
  # checks.tf refuses it. A validation here would print the key.
}
