# Files beside the module. Without their function.json no function would be planned, and those of the state would be destroyed.

resource "terraform_data" "files" {
  lifecycle {
    precondition {
      condition     = length(local.missing_functions) == 0
      error_message = "${local.functions_folder} has no function.json of ${join(", ", local.missing_functions)}. The folders infra and functions of one release belong together: use the whole release archive or the whole repository. With bundles, too."
    }
  }
}

locals {
  missing_functions = [
    for name in keys(local.function_policies) : name
    if !contains(keys(local.functions), name) && (name != "webhooks" || var.enable_webhooks)
  ]
}
