variable "name_prefix" {
  description = "First part of the name of every resource."
  type        = string
}

variable "region" {
  description = "Name of the AWS region."
  type        = string
}

variable "region_code" {
  description = "Short name of the AWS region. The name of the dashboard ends in it."
  type        = string
}

variable "account" {
  description = "Id of the AWS account."
  type        = string
}

variable "partition" {
  description = "Name of the AWS partition."
  type        = string
}

variable "groups" {
  description = "Map from `<host>/<name>` to the runner group's warming set, to whether it has agents and a build cache, and to whether its alarms page."
  type        = map(object({ boots_set = optional(string), takes_jobs = bool, has_cache = bool, actions_enabled = bool }))
}

variable "sets" {
  description = "Map from name to warming set with runs. `deadline_minutes` is the time limit of a run."
  type        = map(object({ deadline_minutes = number }))
}

variable "functions" {
  description = "Map from function to the names of the queues that it polls and of its dead-letter queue (null: it has none), and to whether throttles of it start an alarm."
  type        = map(object({ queues = list(string), dead = optional(string), throttles = bool }))
}

variable "thresholds" {
  description = "Thresholds of the alarms, as in `alarm_thresholds` of the root module."
  type = object({
    boot_seconds         = number
    restore_seconds      = number
    drain_seconds        = number
    backlog_minutes      = number
    oldest_job_seconds   = number
    snapshot_age_hours   = number
    snapshot_gb          = number
    launch_failures      = number
    unused_registrations = number
    cache_failures       = number
  })
}

variable "runbooks_url" {
  description = "Base URL of the published runbooks, or null for links to the dashboard."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of the topic, or null."
  type        = string
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
}
