# Inputs of Aspect Workflows that name nothing that a deployment of Hearth would lack, or only details of a part that another
# input asks for. They have no effect, whatever their value, and the plan warns about them.

variable "aspect_artifacts_bucket" {
  description = "No effect: the bundles are in `dist` beside the module, or in the bucket of `bundles`. Default: null."
  type        = any
  default     = null
}

variable "monitoring_enabled" {
  description = "No effect: metrics, alarms and the dashboard in CloudWatch are always on. Default: null."
  type        = any
  default     = null
}

variable "monitoring" {
  description = "No effect: metrics, alarms and the dashboard in CloudWatch are always on. Default: null."
  type        = any
  default     = null
}

variable "experiments" {
  description = "No effect: the module has no experiments. Default: null."
  type        = any
  default     = null
}

variable "k8s_cluster" {
  description = "No effect: the module has no Kubernetes cluster. Default: null."
  type        = any
  default     = null
}

variable "external_remote_cache" {
  description = "No effect: the build cache (`build_cache`) is not reachable from outside. Default: null."
  type        = any
  default     = null
}

variable "delivery_enabled" {
  description = "No effect: the module has no store for deliveries. A CI job delivers. Default: null."
  type        = any
  default     = null
}

check "inputs_without_effect" {
  assert {
    condition     = length(local.inputs_without_effect) == 0
    error_message = "Inputs without effect: ${join("; ", [for name, reason in local.inputs_without_effect : "${name} (${reason})"])}. Remove them."
  }
}

locals {
  # false asks for nothing.
  inputs_without_effect = {
    for name, one in {
      aspect_artifacts_bucket = { value = var.aspect_artifacts_bucket, reason = "the bundles are in dist beside the module, or in the bucket of bundles" }
      monitoring_enabled      = { value = var.monitoring_enabled, reason = "metrics, alarms and the dashboard in CloudWatch are always on" }
      monitoring              = { value = var.monitoring, reason = "metrics, alarms and the dashboard in CloudWatch are always on" }
      experiments             = { value = var.experiments, reason = "the module has no experiments" }
      k8s_cluster             = { value = var.k8s_cluster, reason = "the module has no Kubernetes cluster" }
      external_remote_cache   = { value = var.external_remote_cache, reason = "the build cache is not reachable from outside; to use a cache that you run, set --remote_cache in the .bazelrc of your repository" }
      delivery_enabled        = { value = var.delivery_enabled, reason = "the module has no store for deliveries, so a CI job must deliver" }
      "support.alert_aspect"  = { value = try(var.support.alert_aspect, null), reason = "alarms go to your own PagerDuty account only" }
    } : name => one.reason if one.value == null ? false : try(tobool(one.value), true)
  }

  lists_of_alerts = flatten([
    for host, groups in { gha = var.gha_runner_groups, cci = var.cci_runner_groups, bk = var.bk_runner_groups } :
    [for name, group in groups : "${host}/${name}" if contains(keys(group), "exclude_oncall_alerts") && try(length(tolist(group.exclude_oncall_alerts)) > 0, false)]
  ])
}

check "lists_of_alerts" {
  assert {
    condition     = length(local.lists_of_alerts) == 0
    error_message = "exclude_oncall_alerts has a list in ${join(", ", local.lists_of_alerts)}. None of the alarms of these groups pages: Hearth does not tell kinds of alarms apart here. Write exclude_oncall_alerts = true."
  }
}
