# How the deployment is run: who may look, who is paged, where the code comes from.

variable "enable_ssm_access" {
  description = "Sessions on runners through SSM. The older form of `support.enable_ssm_access`."
  type        = bool
  default     = null
}

variable "support" {
  description = "`enable_ssm_access` allows sessions on runners; the support policy is attached to the roles named `support_role_name` and `operator_role_name`, and the second may also put secrets and send dead letters back."
  type = object({
    enable_ssm_access         = optional(bool)
    support_role_name         = optional(string)
    operator_role_name        = optional(string)
    pagerduty_integration_key = optional(string)
    alert_aspect              = optional(bool, false)
  })
  default = {}
  validation {
    condition     = !var.support.alert_aspect
    error_message = "support.alert_aspect: alarms go to your own PagerDuty only. Remove it."
  }
}

variable "pagerduty_url" {
  description = "Where PagerDuty's Events API lives, without a path. Accounts of the EU service region have a host of their own."
  type        = string
  default     = "https://events.pagerduty.com"
  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?$", var.pagerduty_url))
    error_message = "pagerduty_url must be https:// and a host, without a path: a routing key must not travel in the clear."
  }
}

variable "runbooks_url" {
  description = "Where you publish docs/runbooks, for the link in each page. Without it pages link to the dashboard."
  type        = string
  default     = null
  validation {
    condition     = var.runbooks_url == null ? true : can(regex("^https://[A-Za-z0-9.:/@=+_-]+[^/]$", var.runbooks_url))
    error_message = "runbooks_url must begin with https://, not end with a slash, and have only characters that a tag may have: letters, digits and . : / @ = + _ -."
  }
}

variable "alarm_thresholds" {
  description = "When alarms speak up."
  type = object({
    boot_seconds       = optional(number, 300)
    restore_seconds    = optional(number, 300)
    drain_seconds      = optional(number, 18000)
    backlog_minutes    = optional(number, 30)
    snapshot_age_hours = optional(number, 50)
    snapshot_gb        = optional(number, 200)
    launch_failures    = optional(number, 3)
  })
  default = {}
}

variable "replica_regions" {
  description = "Regions that get a copy of the parameter tree."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for region in var.replica_regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region))])
    error_message = "replica_regions must be names of regions such as eu-west-1; it has [${join(", ", var.replica_regions)}]."
  }
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of every role."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "Key for the bucket and the secrets, instead of those that AWS manages. Its key policy must let this account's IAM policies decide."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "How long the functions' logs are kept."
  type        = number
  default     = 30
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the retention times of CloudWatch Logs: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "bundles" {
  description = "Bucket of this region, and prefix there, that has the `dist` folder of a release (`bundles.json` and all that it names). Without it the bundles are taken from `dist` beside the module."
  type = object({
    bucket = string
    prefix = optional(string, "")
  })
  default = null
  validation {
    condition     = var.bundles == null ? true : var.bundles.prefix == "" || endswith(var.bundles.prefix, "/")
    error_message = "bundles.prefix must end with a slash."
  }
}
