variable "name_prefix" {
  description = "First part of the name of every resource."
  type        = string
}

variable "account" {
  description = "Id of the AWS account."
  type        = string
}

variable "region" {
  description = "Name of the AWS region."
  type        = string
}

variable "region_code" {
  description = "Short name of the AWS region. The names of the policies end in it."
  type        = string
}

variable "partition" {
  description = "Name of the AWS partition."
  type        = string
}

variable "bucket_name" {
  description = "Name of the snapshot bucket."
  type        = string
}

variable "sets" {
  description = "Names of the warming sets."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of the bucket, or null for the key that S3 manages."
  type        = string
}

variable "cache_scopes" {
  description = "Scopes of the build cache that runner groups use."
  type        = list(string)
}

variable "access_logs" {
  description = "Bucket and prefix of the access logs of the bucket, or null."
  type        = object({ bucket = string, prefix = optional(string) })
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
}
