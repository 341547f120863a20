output "warming_sets" {
  description = "As `warming_sets` of the root module, with defaults."
  value       = var.warming_sets
}

output "resource_types" {
  description = "As `resource_types` of the root module, with defaults."
  value       = var.resource_types
}

output "gha_runner_groups" {
  description = "As `gha_runner_groups` of the root module, with defaults."
  value       = var.gha_runner_groups
}

output "cci_runner_groups" {
  description = "As `cci_runner_groups` of the root module, with defaults."
  value       = var.cci_runner_groups
}

output "bk_runner_groups" {
  description = "As `bk_runner_groups` of the root module, with defaults."
  value       = var.bk_runner_groups
}

output "agents" {
  description = "As `agents` of the root module, with defaults."
  value       = var.agents
}

output "support" {
  description = "As `support` of the root module, with defaults."
  value       = var.support
}

output "alarm_thresholds" {
  description = "As `alarm_thresholds` of the root module, with defaults."
  value       = var.alarm_thresholds
}

output "bundles" {
  description = "As `bundles` of the root module, with defaults."
  value       = var.bundles
}

output "access_logs" {
  description = "As `access_logs` of the root module, with defaults."
  value       = var.access_logs
}

output "build_cache" {
  description = "As `build_cache` of the root module, with defaults."
  value       = var.build_cache
}

output "folder" {
  description = "Path of the folder of the root module."
  # Terraform links a module with an absolute source into .terraform/modules, where `..` leads elsewhere. The paths of modules
  # within it are the real ones.
  value = coalesce(trimsuffix(trimsuffix(path.module, "modules/inputs"), "/"), ".")
}
