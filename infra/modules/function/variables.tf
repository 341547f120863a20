variable "name" {
  description = "Name of the function: its folder name below functions/."
  type        = string
}

variable "name_prefix" {
  description = "First part of the name of every resource."
  type        = string
}

variable "role_name" {
  description = "Name of the function's role. It is unique in the account."
  type        = string
}

variable "spec" {
  description = "Content of the function's function.json, with the placeholders for prefix and bucket replaced."
  type        = any
}

variable "code" {
  description = "Code of the function: a local file (`file`) or an S3 object (`bucket`, `key`), and its SHA-256 in base64 (`code_sha256`)."
  type = object({
    file        = optional(string)
    bucket      = optional(string)
    key         = optional(string)
    code_sha256 = optional(string)
  })
}

variable "environment" {
  description = "Environment values that function.json names. A null value is an error."
  type        = map(string)
}

variable "policy_json" {
  description = "IAM policy document of the function, in addition to the permissions for its queues and its log."
  type        = string
}

variable "schedules_by_set" {
  description = "Map from warming set to schedule expression, for subscriptions that exist once per set."
  type        = map(string)
}

variable "buses" {
  description = "Map from bus in function.json to the name of the event bus. A subscription to a bus that is missing has no rule."
  type        = map(string)
}

variable "senders" {
  description = "Map from queue (`inbox`, `dead` or a further inbox) to the patterns of the ARNs of the principals that may send to it. The queue denies every other principal. A queue that is absent denies none."
  type        = map(list(string))
}

variable "event_bus" {
  description = "Name of the event bus of the deployment's own events, whose source begins with the prefix. All other events are on the default bus."
  type        = string
}

variable "reserve_concurrency" {
  description = "Controls whether the concurrency that function.json names is reserved."
  type        = bool
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of queues, log, environment and schedules, or null for keys that AWS owns."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of the roles, or null."
  type        = string
}

variable "log_retention_days" {
  description = "Retention of the function's log, in days."
  type        = number
}

variable "runbook" {
  description = "Tags and last description line of the dead-letter alarm."
  type        = object({ tags = map(string), line = string })
}

variable "dead_letter_topics" {
  description = "ARNs of SNS topics that the dead-letter alarm notifies, in addition to PagerDuty."
  type        = list(string)
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
}
