variable "name_prefix" {
  description = "First part of every name."
  type        = string
}

variable "bucket_name" {
  description = "The snapshot bucket."
  type        = string
}

variable "sets" {
  description = "Names of the warming sets."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "Key of the bucket, or null for the one that S3 manages."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
