# Forms of inputs that are valid, and their effects. Each run tests several inputs that do not depend on each other.

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

run "defaults" {
  command = plan
  assert {
    condition     = !local.ssm_access
    error_message = "Sessions are allowed by default."
  }
  assert {
    condition     = tolist(local.resource_types.default.instance_types) == tolist(["c6id.4xlarge", "c5ad.4xlarge"])
    error_message = "instance_types does not keep its order."
  }
  assert {
    condition     = output.cost_allocation_tag == "hearth-deployment" && output.cost_allocation_tag_value == "acme"
    error_message = "The default cost allocation tag is wrong."
  }
  assert {
    condition     = local.github_api_url == "https://api.github.com"
    error_message = "github.com is not the default."
  }
  assert {
    condition     = anytrue([for function in module.function : function.reserved_concurrency > 0])
    error_message = "No function reserves concurrency."
  }
}

run "version_5_4" {
  command = plan
  variables {
    enable_ssm_access                    = true
    delivery_enabled                     = false
    resource_types                       = { default = { instance_type = "t3a.small", image_id = "ami-00000000000000000", root_volume_size_gb = 32 } }
    enable_function_reserved_concurrency = false
    ghes_url                             = "https://acme.ghe.com"
  }
  assert {
    condition     = local.ssm_access
    error_message = "enable_ssm_access does not allow sessions."
  }
  assert {
    condition     = tolist(local.resource_types.default.instance_types) == tolist(["t3a.small"])
    error_message = "instance_type has no effect."
  }
  assert {
    condition     = alltrue([for function in module.function : function.reserved_concurrency == -1])
    error_message = "A function reserves concurrency."
  }
  assert {
    condition     = local.github_api_url == "https://api.acme.ghe.com"
    error_message = "The REST API of ghe.com has the host api.<tenant>."
  }
}

run "version_5_7" {
  command = plan
  variables {
    support                   = { enable_ssm_access = true }
    cost_allocation_tag       = "cost-center"
    cost_allocation_tag_value = "1234"
    kms_key_arn               = "arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000"
    permissions_boundary      = "arn:aws:iam::123456789012:policy/boundary"
    replica_regions           = ["eu-west-1"]
    ghes_url                  = "https://github.example.com:8443/"
  }
  assert {
    condition     = local.ssm_access
    error_message = "support.enable_ssm_access does not allow sessions."
  }
  assert {
    condition     = output.cost_allocation_tag == "cost-center" && output.cost_allocation_tag_value == "1234" && local.tags["cost-center"] == "1234"
    error_message = "The cost allocation tag is not the given one."
  }
  assert {
    condition     = aws_secretsmanager_secret.pagerduty.kms_key_id == var.kms_key_arn && alltrue([for secret in aws_secretsmanager_secret.agent : secret.kms_key_id == var.kms_key_arn])
    error_message = "A secret does not use the given key."
  }
  assert {
    condition     = tolist(local.tree_regions) == tolist(["us-west-2", "eu-west-1"])
    error_message = "The home region or the replica region is missing."
  }
  assert {
    condition     = local.github_api_url == "https://github.example.com:8443/api/v3"
    error_message = "The REST API of GitHub Enterprise Server is below /api/v3."
  }
}

run "a_warming_group_takes_no_jobs" {
  command = plan
  variables {
    # Both forms of one input are valid if they agree.
    enable_ssm_access = true
    support           = { enable_ssm_access = true }
    warming_sets      = { default = { command = ["warm"] }, nightly = { command = ["warm"], user = "ci", rebuild = 0 } }
    gha_runner_groups = {
      role    = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming_set = "default", job_isolation = "shared", jobs_use_instance_role = true, policies = { warming_manage = "default" } }
      command = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming_set = "nightly", policies = { warming_manage = "nightly", deploy = "arn:aws:iam::123456789012:policy/c" } }
    }
  }
  assert {
    condition     = !local.group_takes_jobs["gha/role"] && !local.group_takes_jobs["gha/command"]
    error_message = "A warming group takes jobs."
  }
  assert {
    condition     = local.group_jobs["gha/role"].isolation == "clean" && local.group_jobs["gha/role"].useInstanceRole && !local.group_jobs["gha/command"].useInstanceRole
    error_message = "A warming run is not isolated, or reaches the role of the instance without an explicit value."
  }
  assert {
    condition     = local.warming_runs["default"].rebuild == 14 && local.warming_runs["nightly"].rebuild == 0
    error_message = "rebuild has no effect."
  }
}

run "jobs" {
  command = plan
  variables {
    hosts        = ["gha", "cci", "bk"]
    warming_sets = { default = { command = ["warm"] } }
    gha_runner_groups = {
      plain   = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default" }
      warming = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "default" } }
      org     = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", level = "organization", runner_group = "release", labels = ["linux", "x64 large"], drain_timeout_min = 2880, agent = { user = "ci", program = { version = "2.336.0", url = "https://example.com/r.tar.gz", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } } }
      role    = { max_runners = 2, queue = "r", gh_repo = "acme/monorepo", resource_type = "default", jobs_use_instance_role = true, docker = false }
    }
    cci_runner_groups = {
      policies = { max_runners = 2, resource_type = "default", policies = { deploy = "arn:aws:iam::123456789012:policy/b" }, shared_mounts = ["/mnt/efs", "/home"] }
    }
    bk_runner_groups = {
      shared = { max_runners = 2, queue = "q", resource_type = "default", job_isolation = "shared", shared_mounts = ["/mnt/efs"] }
    }
  }
  assert {
    condition     = jsonencode(local.group_jobs["gha/plain"]) == jsonencode({ isolation = "clean", useInstanceRole = false, sharedMounts = [], docker = true })
    error_message = "The defaults are not clean jobs with Docker and without the role of the instance."
  }
  assert {
    condition     = !local.group_jobs["gha/warming"].useInstanceRole
    error_message = "The policy of a warming set lets jobs use the role."
  }
  assert {
    condition     = local.group_jobs["gha/role"].useInstanceRole && !local.group_jobs["gha/role"].docker
    error_message = "jobs_use_instance_role or docker has no effect."
  }
  assert {
    condition     = local.group_jobs["cci/policies"].useInstanceRole && local.group_jobs["cci/policies"].sharedMounts == tolist(["/mnt/efs", "/home"])
    error_message = "Further policies do not let jobs use the role, or shared_mounts has no effect."
  }
  assert {
    condition     = local.group_jobs["bk/shared"].isolation == "shared" && local.group_jobs["bk/shared"].useInstanceRole
    error_message = "Shared jobs always reach the role of the instance."
  }
  assert {
    condition     = jsondecode(local.group_parameters["/aw/groups/cci/policies"]).jobsUseInstanceRole && jsonencode(jsondecode(local.group_parameters["/aw/groups/cci/policies"]).sharedMounts) == jsonencode(["/mnt/efs", "/home"]) && jsondecode(local.group_parameters["/aw/groups/bk/shared"]).jobIsolation == "shared"
    error_message = "The parameter tree does not have the settings of jobs."
  }
}

run "policies_that_jobs_cannot_use_are_a_warning" {
  command = plan
  variables {
    gha_runner_groups = {
      default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", jobs_use_instance_role = false, policies = { deploy = "arn:aws:iam::123456789012:policy/b" } }
    }
  }
  expect_failures = [check.policies_of_jobs]
}

# A job needs all labels of its runs-on, in any order and case.
run "groups_of_the_same_jobs_are_a_warning" {
  command = plan
  variables {
    gha_runner_groups = {
      first  = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", labels = ["linux", "x64"] }
      second = { max_runners = 2, queue = "r", gh_repo = "acme/monorepo", resource_type = "default", labels = ["X64", "linux"] }
      other  = { max_runners = 2, queue = "q", gh_repo = "acme/other", resource_type = "default", labels = ["linux", "x64"] }
    }
  }
  expect_failures = [check.groups_of_the_same_jobs]
}

run "older_forms_of_attributes_and_the_set_of_a_policy" {
  command = plan
  variables {
    aspect_artifacts_bucket = "artifacts"
    warming_sets            = { default = { command = ["warm"] }, mobile = { command = ["warm"] }, empty = {} }
    gha_runner_groups = {
      list    = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", exclude_oncall_alerts = ["Runner Alarms"], agent_idle_timeout = 200 }
      none    = { max_runners = 2, queue = "r", gh_repo = "acme/monorepo", resource_type = "default", exclude_oncall_alerts = [], agent_idle_timeout_min = null }
      mobile  = { max_runners = 1, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/aw-warming-manage-mobile-usw2" } }
      default = { max_runners = 1, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "default" } }
      empty   = { max_runners = 1, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "empty" } }
    }
  }
  assert {
    condition     = local.stated_groups["gha/list"].exclude_oncall_alerts && local.stated_groups["gha/list"].agent_idle_timeout_min == 4
    error_message = "A list of alerts does not mute the group, or seconds are not rounded up to minutes."
  }
  assert {
    condition     = !local.stated_groups["gha/none"].exclude_oncall_alerts && local.stated_groups["gha/none"].agent_idle_timeout_min == 30
    error_message = "An empty list mutes the group, or null is not the default."
  }
  assert {
    condition     = local.group_sets["gha/mobile"] == "mobile" && local.group_sets["gha/default"] == "default"
    error_message = "The set of a warming group is not that of its policy."
  }
  assert {
    condition     = tolist(sort(keys(local.running_sets))) == tolist(["default", "mobile"])
    error_message = "A set without a command has warming runs."
  }
  expect_failures = [check.inputs_without_effect, check.lists_of_alerts, check.sets_without_snapshots]
}

run "what_is_off_is_no_warning" {
  command = plan
  variables {
    delivery_enabled   = false
    monitoring_enabled = false
  }
  assert {
    condition     = length(local.inputs_without_effect) == 0
    error_message = "An input that asks for nothing is a warning."
  }
}
