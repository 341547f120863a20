# Older and newer forms of inputs.

# No call to AWS. Run with `terraform init -backend=false && terraform test`.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-west-2" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  customer_id  = "acme"
  vpc_id       = "vpc-00000000000000000"
  vpc_subnets  = ["subnet-00000000000000001"]
  hosts        = ["gha"]
  warming_sets = { default = {} }
  resource_types = {
    default = { instance_types = ["c6id.4xlarge", "c5ad.4xlarge"], image_id = "ami-00000000000000000" }
  }
  gha_runner_groups = {
    default = { max_runners = 2, queue = "default", gh_repo = "acme/monorepo", resource_type = "default" }
  }
}

run "version_5_4" {
  command = plan
  variables {
    enable_ssm_access = true
    resource_types    = { default = { instance_type = "t3a.small", image_id = "ami-00000000000000000", root_volume_size_gb = 32 } }
  }
  assert {
    condition     = local.ssm_access
    error_message = "enable_ssm_access does not allow sessions."
  }
  assert {
    condition     = tolist(local.resource_types.default.instance_types) == tolist(["t3a.small"])
    error_message = "instance_type has no effect."
  }
}

run "version_5_7" {
  command = plan
  variables {
    support = { enable_ssm_access = true }
  }
  assert {
    condition     = local.ssm_access
    error_message = "support.enable_ssm_access does not allow sessions."
  }
  assert {
    condition     = tolist(local.resource_types.default.instance_types) == tolist(["c6id.4xlarge", "c5ad.4xlarge"])
    error_message = "instance_types does not keep its order."
  }
}

run "sessions_are_off_by_default" {
  command = plan
  assert {
    condition     = !local.ssm_access
    error_message = "Sessions are allowed by default."
  }
}

run "cost_tag_by_default" {
  command = plan
  assert {
    condition     = output.cost_allocation_tag == "hearth-deployment" && output.cost_allocation_tag_value == "acme"
    error_message = "The default cost allocation tag is wrong."
  }
}

run "cost_tag_as_given" {
  command = plan
  variables {
    cost_allocation_tag       = "cost-center"
    cost_allocation_tag_value = "1234"
  }
  assert {
    condition     = output.cost_allocation_tag == "cost-center" && output.cost_allocation_tag_value == "1234" && local.tags["cost-center"] == "1234"
    error_message = "The cost allocation tag is not the given one."
  }
}

run "own_key_and_replica_regions" {
  command = plan
  variables {
    kms_key_arn          = "arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000"
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
    replica_regions      = ["eu-west-1"]
  }
  assert {
    condition     = aws_secretsmanager_secret.pagerduty.kms_key_id == var.kms_key_arn && alltrue([for secret in aws_secretsmanager_secret.agent : secret.kms_key_id == var.kms_key_arn])
    error_message = "A secret does not use the given key."
  }
  assert {
    condition     = tolist(local.tree_regions) == tolist(["us-west-2", "eu-west-1"])
    error_message = "The home region or the replica region is missing."
  }
}

run "github_com" {
  command = plan
  assert {
    condition     = local.github_api_url == "https://api.github.com"
    error_message = "github.com is not the default."
  }
}

run "github_enterprise_server" {
  command = plan
  variables {
    ghes_url = "https://github.example.com:8443/"
  }
  assert {
    condition     = local.github_api_url == "https://github.example.com:8443/api/v3"
    error_message = "The REST API of GitHub Enterprise Server is below /api/v3."
  }
}

run "tenant_of_ghe_com" {
  command = plan
  variables {
    ghes_url = "https://acme.ghe.com"
  }
  assert {
    condition     = local.github_api_url == "https://api.acme.ghe.com"
    error_message = "The REST API of ghe.com has the host api.<tenant>."
  }
}

run "a_warming_group_whose_jobs_save_takes_jobs" {
  command = plan
  variables {
    warming_sets = { default = {}, nightly = { command = ["warm"], user = "ci" } }
    gha_runner_groups = {
      jobs    = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming_set = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/a" } }
      command = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming_set = "nightly", policies = { warming_manage = "arn:aws:iam::123456789012:policy/b" } }
    }
  }
  assert {
    condition     = local.group_takes_jobs["gha/jobs"] && !local.group_takes_jobs["gha/command"]
    error_message = "Only a warming group whose set has a run is without an agent."
  }
}

run "no_reserved_concurrency" {
  command = plan
  variables {
    enable_function_reserved_concurrency = false
  }
  assert {
    condition     = alltrue([for function in module.function : function.reserved_concurrency == -1])
    error_message = "A function reserves concurrency."
  }
}
