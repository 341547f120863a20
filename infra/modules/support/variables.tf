variable "name_prefix" {
  description = "First part of the name of every resource."
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

variable "region" {
  description = "Name of the AWS region."
  type        = string
}

variable "region_code" {
  description = "Short name of the AWS region. The names of the policies end in it."
  type        = string
}

variable "enable_ssm_access" {
  description = "Controls whether SSM sessions and port forwarding to runners are allowed."
  type        = bool
}

variable "support_role_name" {
  description = "Name of the role to which the support policy is attached, or null."
  type        = string
}

variable "operator_role_name" {
  description = "Name of the role to which the support policy and the operator policy are attached, or null."
  type        = string
}

variable "functions" {
  description = "Names of the functions."
  type        = list(string)
}

variable "bucket_arn" {
  description = "ARN of the bucket of the deployment."
  type        = string
}

variable "has_cache" {
  description = "Whether the build cache has scopes, which operators may revoke."
  type        = bool
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of the secrets, or null for the key that AWS manages."
  type        = string
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
}
