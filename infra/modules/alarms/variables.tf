variable "name_prefix" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "account" {
  description = "Account id."
  type        = string
}

variable "partition" {
  description = "AWS partition."
  type        = string
}

variable "groups" {
  description = "By <host>/<name>: the set that it boots from, and whether its alarms page."
  type        = map(object({ boots_set = optional(string), actions_enabled = bool }))
}

variable "sets" {
  description = "By name: warming sets that have runs."
  type        = map(object({ deadline_minutes = number }))
}

variable "functions" {
  description = "By name: the queues that it polls."
  type        = map(object({ queues = list(string) }))
}

variable "thresholds" {
  description = "When alarms speak up."
  type = object({
    boot_seconds       = number
    restore_seconds    = number
    drain_seconds      = number
    backlog_minutes    = number
    snapshot_age_hours = number
    snapshot_gb        = number
    launch_failures    = number
  })
}

variable "runbooks_url" {
  description = "Where docs/runbooks is published, or null."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
