variable "name_prefix" {
  description = "First part of every name."
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

variable "region" {
  description = "AWS region."
  type        = string
}

variable "enable_ssm_access" {
  description = "Allow sessions and port forwarding to runners."
  type        = bool
}

variable "support_role_name" {
  description = "Role that gets the support policy, or null."
  type        = string
}

variable "operator_role_name" {
  description = "Role that gets the support and the operator policy, or null."
  type        = string
}

variable "functions" {
  description = "Names of the functions."
  type        = list(string)
}

variable "secret_arns" {
  description = "Secrets that operators fill."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "Key of the secrets, or null for AWS's own."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
