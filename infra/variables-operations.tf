# Operation of the deployment: access, paging, retention and source of the code.

variable "enable_ssm_access" {
  description = "Controls whether SSM sessions on runners are allowed. Older form of `support.enable_ssm_access`. Default: null, which leaves the decision to `support`."
  type        = bool
  default     = null
}

variable "support" {
  description = "Access for people: SSM sessions on runners (default: none), and the roles that get the policies for support and operators (default: none). The module refuses `pagerduty_integration_key`, and ignores `alert_aspect`. Default: none."
  type        = any
  default     = {}
  nullable    = false
}

variable "inbox_senders" {
  description = "ARNs of IAM principals that may send messages to the inboxes and dead-letter queues by hand, in addition to `support.operator_role_name`; `*` matches any text. The queues deny every other principal. A role with a path needs its path here, for example `arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Operator_*`. Default: none."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for arn in var.inbox_senders : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "inbox_senders must contain ARNs of IAM roles or users in accounts that are named, such as arn:aws:iam::111122223333:role/operator."
  }
}

variable "pagerduty_url" {
  description = "Base URL of PagerDuty's Events API, without a path. Accounts in PagerDuty's EU service region need another host name. Default: `https://events.pagerduty.com`."
  type        = string
  default     = "https://events.pagerduty.com"
  nullable    = false
  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?$", var.pagerduty_url))
    error_message = "pagerduty_url must be https:// and a host name, without a path. A routing key must not be sent unencrypted."
  }
}

variable "runbooks_url" {
  description = "Base URL at which you publish docs/runbooks. Each incident links to its runbook there. Default: null; incidents then link to the dashboard."
  type        = string
  default     = null
  validation {
    condition     = var.runbooks_url == null ? true : can(regex("^https://[A-Za-z0-9.:/@=+_-]+[^/]$", var.runbooks_url))
    error_message = "runbooks_url must begin with https:// and must not end with a slash. A tag contains it, so it may have only letters, digits and . : / @ = + _ -."
  }
}

variable "alarm_thresholds" {
  description = "Thresholds of the alarms. An alarm starts above its threshold. The README and modules/inputs/variables.tf have them, with unit and default. Default: those defaults."
  type        = any
  default     = {}
  nullable    = false
}

variable "replica_regions" {
  description = "Further regions to which the parameter tree is copied. Default: none."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for region in var.replica_regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region))])
    error_message = "replica_regions must contain names of AWS regions such as eu-west-1. Present value: [${join(", ", var.replica_regions)}]."
  }
  validation {
    condition     = length(distinct(var.replica_regions)) == length(var.replica_regions)
    error_message = "replica_regions must name each region once. Present value: [${join(", ", var.replica_regions)}]."
  }
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary that the module sets on every role. Default: null, no boundary."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "ARN of the KMS key for all data: bucket, secrets, volumes, queues, logs, topic, and environments of functions. The key policy must delegate to IAM policies of this account, and have the statements of the output `kms_key_statements`. Default: null, which uses keys that AWS owns or manages."
  type        = string
  default     = null
}

variable "access_logs" {
  description = "Bucket for the access logs of the snapshot bucket, and their prefix (default: the name of the snapshot bucket and a slash). The bucket must be in the same account and region, and its policy must allow `s3:PutObject` to logging.s3.amazonaws.com. Default: null, no access logs."
  type        = any
  default     = null
}

variable "log_retention_days" {
  description = "Retention of the logs of functions and runners, in days. Default: 30."
  type        = number
  default     = 30
  nullable    = false
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a retention time that CloudWatch Logs supports: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "enable_webhooks" {
  description = "Controls whether the function `webhooks` exists: a public URL at which GitHub and Buildkite announce queued jobs, so that `scaling` reads their source at once instead of in the next minute. Without it, nothing of the deployment is reachable without a signature of AWS. Needs `enable_function_reserved_concurrency`, and version 6.29 of the AWS provider. Default: false."
  type        = bool
  default     = false
  nullable    = false
}

variable "buildkite_event_bus" {
  description = "Name of the event bus of Buildkite's partner event source (`aws.partner/buildkite.com/…`), which must exist in the region of the deployment. Its event `Job Scheduled` has the effect of a webhook of Buildkite, without a URL. Default: null, no rule."
  type        = string
  default     = null
  validation {
    condition     = var.buildkite_event_bus == null ? true : can(regex("^aws\\.partner/buildkite\\.com/[A-Za-z0-9/._-]+$", var.buildkite_event_bus))
    error_message = "buildkite_event_bus must be the name of a partner event bus and begin with aws.partner/buildkite.com/. The EventBridge console shows it below Partner event sources, after you have associated the source with a bus."
  }
}

variable "enable_function_reserved_concurrency" {
  description = "Controls whether functions reserve concurrency: `registration` 10 and `webhooks` 5, so that their callers cannot take that of other functions, and `scaling` 1. Lambda keeps 100 executions unreserved, so an account with a low quota cannot apply with `true`. Default: true."
  type        = bool
  default     = true
  nullable    = false
}

variable "bundles" {
  description = "S3 location of the `dist` folder of a release (`bundles.json` and the files that it names). The bucket must be in the region of the deployment. `sha256` is the SHA-256 of `bundles.json`, in hex; with another file the plan fails (default: none, with a warning). Default: null; the module then uses `dist` beside itself."
  type        = any
  default     = null
}
