# Inputs of Aspect Workflows that this module does not support. Each is declared, so that checks-names.tf can say what to do
# instead. Without the declaration Terraform only reports an unknown argument, and no other error of the configuration.

variable "external_remote" {
  description = "Not supported: the module has no remote cache and no remote execution. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "delivery" {
  description = "Not supported: the module has no delivery. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "telemetry" {
  description = "Not supported: the module exports no telemetry. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "webapp" {
  description = "Not supported: the module has no web application. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "pagerduty_integration_key" {
  description = "Not supported: use the secret in the output `pagerduty_routing_secret_id`. Any value other than null is an error at plan time. Default: null."
  type        = string
  default     = null
}

variable "gl_runner_groups" {
  description = "Not supported: GitLab is not supported. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

# The inputs of the module for Google Cloud.

variable "project" {
  description = "Not supported: an input of the module for Google Cloud. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "region" {
  description = "Not supported: an input of the module for Google Cloud. The region is that of the provider. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "network" {
  description = "Not supported: an input of the module for Google Cloud. Use `vpc_id`. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "subnetwork" {
  description = "Not supported: an input of the module for Google Cloud. Use `vpc_subnets`. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "zones" {
  description = "Not supported: an input of the module for Google Cloud. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "cluster_standard_node_count" {
  description = "Not supported: an input of the module for Google Cloud. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}

variable "cluster_standard_node_machine_type" {
  description = "Not supported: an input of the module for Google Cloud. Any value other than null is an error at plan time. Default: null."
  type        = any
  default     = null
}
