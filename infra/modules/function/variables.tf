variable "name" {
  description = "Folder name below functions/."
  type        = string
}

variable "name_prefix" {
  description = "First part of every name."
  type        = string
}

variable "spec" {
  description = "The function's function.json, with prefix and bucket filled in."
  type        = any
}

variable "code" {
  description = "The bundle: a local file, or a key of a bucket; and its sha256 in base64."
  type = object({
    file        = optional(string)
    bucket      = optional(string)
    key         = optional(string)
    code_sha256 = optional(string)
  })
}

variable "environment" {
  description = "The values that function.json names; null where the deployment has none."
  type        = map(string)
}

variable "policy_json" {
  description = "What this function may do besides its queues and its log."
  type        = string
}

variable "schedules_by_set" {
  description = "Schedule expression of each warming set, for subscriptions that exist once per set."
  type        = map(string)
}

variable "permissions_boundary" {
  description = "ARN of the roles' permissions boundary."
  type        = string
}

variable "log_retention_days" {
  description = "Days."
  type        = number
}

variable "runbook" {
  description = "Tags and last line of the description of the dead-letter alarm."
  type        = object({ tags = map(string), line = string })
}

variable "dead_letter_topics" {
  description = "Topics that hear of dead letters, besides PagerDuty."
  type        = list(string)
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
