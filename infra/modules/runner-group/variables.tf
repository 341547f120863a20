variable "name" {
  description = "Name of the Auto Scaling group and everything around it."
  type        = string
}

variable "name_prefix" {
  description = "Of the deployment; the hooks are named after it."
  type        = string
}

variable "group_id" {
  description = "<host>/<name>."
  type        = string
}

variable "min_runners" {
  description = "Fewest runners."
  type        = number
}

variable "max_runners" {
  description = "Most runners."
  type        = number
}

variable "resource_type" {
  description = "Kind of machine."
  type = object({
    instance_types      = list(string)
    image_id            = string
    root_volume_size_gb = number
    root_device_name    = string
    use_preemptible     = bool
    tags                = map(string)
  })
}

variable "vpc_id" {
  description = "VPC of the security group."
  type        = string
}

variable "vpc_subnets" {
  description = "Subnets of the runners."
  type        = list(string)
}

variable "security_groups" {
  description = "Further security groups, by a name of your choice."
  type        = map(string)
}

variable "policies" {
  description = "Further policies of the role, by a name of your choice."
  type        = map(string)
}

variable "bucket_name" {
  description = "The snapshot bucket."
  type        = string
}

variable "bucket_arn" {
  description = "The snapshot bucket."
  type        = string
}

variable "boots_set" {
  description = "Warming set that runners restore, or null."
  type        = string
}

variable "warming" {
  description = "On a warming group: what makes the snapshot, as aw-runner reads it, or null."
  type        = any
}

variable "idle_timeout_min" {
  description = "Minutes without a job after which a runner offers to go."
  type        = number
}

variable "reports" {
  description = "The queue that runners report to."
  type        = object({ url = string, arn = string })
}

variable "runner" {
  description = "The runner program in the bucket."
  type        = object({ key = string, sha256 = string })
}

variable "log_group_arn" {
  description = "Log group of all runners."
  type        = string
}

variable "agent" {
  description = "Settings of the host's driver."
  type        = any
}

variable "secret_arn" {
  description = "The host's token."
  type        = string
}

variable "enable_ssm_access" {
  description = "Allow sessions."
  type        = bool
}

variable "kms_key_arn" {
  description = "Key of the bucket and the secrets, or null."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of the role's permissions boundary."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}

variable "group_tags" {
  description = "Tags of this group, which win over those of its resource type."
  type        = map(string)
}
