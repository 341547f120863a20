variable "name" {
  description = "Name of the Auto Scaling group, its security group and launch template."
  type        = string
}

variable "role_name" {
  description = "Name of the role and the instance profile. It is unique in the account."
  type        = string
}

variable "name_prefix" {
  description = "Name prefix of the deployment. The names of the lifecycle hooks begin with it."
  type        = string
}

variable "group_id" {
  description = "Id of the runner group, `<host>/<name>`."
  type        = string
}

variable "min_runners" {
  description = "Minimum number of runners."
  type        = number
}

variable "max_runners" {
  description = "Maximum number of runners."
  type        = number
}

variable "resource_type" {
  description = "Type of instance, as in `resource_types` of the root module."
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
  description = "Id of the VPC of the security group."
  type        = string
}

variable "vpc_subnets" {
  description = "Ids of the subnets of the runners."
  type        = list(string)
}

variable "security_groups" {
  description = "Map from any name to the id of a further security group."
  type        = map(string)
}

variable "policies" {
  description = "Map from any name to the ARN of a further policy of the role."
  type        = map(string)
}

variable "bucket_name" {
  description = "Name of the snapshot bucket."
  type        = string
}

variable "bucket_arn" {
  description = "ARN of the snapshot bucket."
  type        = string
}

variable "boots_set" {
  description = "Warming set whose snapshot the runners restore at boot, or null."
  type        = string
}

variable "paths" {
  description = "Directories that the snapshot has beside the warm directory. They are empty for a group without a set."
  type        = list(string)
}

variable "lazy" {
  description = "Whether clean jobs start before the image of the snapshot is complete: never or auto."
  type        = string
}

variable "writes_snapshots" {
  description = "Whether the role may write snapshots. Support sessions exclude such instances."
  type        = bool
}

variable "warming" {
  description = "Warming run in the format of aw-runner's configuration, or null for a group without warming runs."
  type        = any
}

variable "idle_timeout_min" {
  description = "Time without a job after which a runner reports itself idle, in minutes."
  type        = number
}

variable "reports" {
  description = "URL and ARN of the queue for runner reports."
  type        = object({ url = string, arn = string })
}

variable "runner" {
  description = "S3 key and SHA-256 of the runner program."
  type        = object({ key = string, sha256 = string })
}

variable "log_group_arn" {
  description = "ARN of the log group of all runners."
  type        = string
}

variable "agent" {
  description = "Settings of the agent, in the format of aw-runner's configuration."
  type        = any
}

variable "jobs" {
  description = "Isolation of the jobs, in the format of aw-runner's configuration."
  type        = object({ isolation = string, useInstanceRole = bool, sharedMounts = list(string), docker = bool })
}

variable "cache" {
  description = "Build cache of the jobs, in the format of aw-runner's configuration, or null."
  type        = object({ mode = string, scope = string, reads = list(string), diskPercent = number })
}

variable "drain_timeout_min" {
  description = "Time after which a drain ends the running job, in minutes, or null for the limit of Auto Scaling (48 hours)."
  type        = number
}

variable "registration" {
  description = "URL and ARN of the function registration, or null for a group without agents."
  type        = object({ url = string, arn = string })
}

variable "enable_ssm_access" {
  description = "Controls whether SSM sessions on the runners are allowed."
  type        = bool
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of volumes, bucket and queues, or null for keys that AWS manages."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of the role, or null."
  type        = string
}

variable "tags" {
  description = "Tags of every resource. They override `group_tags`."
  type        = map(string)
}

variable "group_tags" {
  description = "Tags of this group. They override the tags of its resource type."
  type        = map(string)
}
