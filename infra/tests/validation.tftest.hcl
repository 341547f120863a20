# Every rule about inputs. Each run violates one rule only.

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
    default = { instance_types = ["c6id.4xlarge"], image_id = "ami-00000000000000000" }
  }
  gha_runner_groups = {
    default = { max_runners = 2, queue = "default", gh_repo = "acme/monorepo", resource_type = "default" }
  }
}

run "valid_inputs" {
  command = plan
}

run "customer_id" {
  command = plan
  variables {
    customer_id = ""
  }
  expect_failures = [var.customer_id]
}

run "name_prefix_0" {
  command = plan
  variables {
    name_prefix = "Aw"
  }
  expect_failures = [var.name_prefix]
}

run "name_prefix_1" {
  command = plan
  variables {
    name_prefix = "a-w"
  }
  expect_failures = [var.name_prefix]
}

run "name_prefix_2" {
  command = plan
  variables {
    name_prefix = "awsci"
  }
  expect_failures = [var.name_prefix]
}

run "name_prefix_3" {
  command = plan
  variables {
    name_prefix = "ssm1"
  }
  expect_failures = [var.name_prefix]
}

run "name_prefix_4" {
  command = plan
  variables {
    name_prefix = "abcdefghijkl"
  }
  expect_failures = [var.name_prefix]
}

run "name_prefix_5" {
  command = plan
  variables {
    name_prefix = "1aw"
  }
  expect_failures = [var.name_prefix]
}

run "vpc_id" {
  command = plan
  variables {
    vpc_id = "subnet-00000000000000001"
  }
  expect_failures = [var.vpc_id]
}

run "vpc_subnets" {
  command = plan
  variables {
    vpc_subnets = []
  }
  expect_failures = [var.vpc_subnets]
}

run "hosts_unknown" {
  command = plan
  variables {
    hosts = ["gha", "gitlab"]
  }
  expect_failures = [var.hosts]
}

run "hosts_empty" {
  command = plan
  variables {
    hosts = []
  }
  expect_failures = [var.hosts]
}

run "set_name" {
  command = plan
  variables {
    warming_sets = { default = {}, "a/b" = {} }
  }
  expect_failures = [var.warming_sets]
}

run "set_schedule" {
  command = plan
  variables {
    warming_sets = { default = { schedule = "daily" } }
  }
  expect_failures = [var.warming_sets]
}

run "set_deadline" {
  command = plan
  variables {
    warming_sets = { default = { deadline_minutes = 1441 } }
  }
  expect_failures = [var.warming_sets]
}

run "set_keep" {
  command = plan
  variables {
    warming_sets = { default = { keep = 0 } }
  }
  expect_failures = [var.warming_sets]
}

run "set_command" {
  command = plan
  variables {
    warming_sets = { default = { command = [] } }
  }
  expect_failures = [var.warming_sets]
}

run "set_command_and_bazel" {
  command = plan
  variables {
    warming_sets = { default = { command = ["warm"], bazel = { directory = "/work" } } }
  }
  expect_failures = [var.warming_sets]
}

run "set_bazel_directory" {
  command = plan
  variables {
    warming_sets = { default = { bazel = { directory = "work" } } }
  }
  expect_failures = [var.warming_sets]
}

run "set_bazel_repository" {
  command = plan
  variables {
    warming_sets = { default = { bazel = { directory = "/work", repository = "--upload-pack=x" } } }
  }
  expect_failures = [var.warming_sets]
}

run "set_user" {
  command = plan
  variables {
    warming_sets = { default = { bazel = { directory = "/work" }, user = "a b" } }
  }
  expect_failures = [var.warming_sets]
}

run "type_with_both_forms" {
  command = plan
  variables {
    resource_types = { default = { instance_type = "t3a.small", instance_types = ["t3a.small"], image_id = "ami-00000000000000000" } }
  }
  expect_failures = [var.resource_types]
}

run "type_with_neither_form" {
  command = plan
  variables {
    resource_types = { default = { image_id = "ami-00000000000000000" } }
  }
  expect_failures = [var.resource_types]
}

run "type_volume" {
  command = plan
  variables {
    resource_types = { default = { instance_types = ["t3a.small"], image_id = "ami-00000000000000000", root_volume_size_gb = 4 } }
  }
  expect_failures = [var.resource_types]
}

run "tags_of_aws" {
  command = plan
  variables {
    tags = { "aws:x" = "y" }
  }
  expect_failures = [var.tags]
}

run "tags_created_by" {
  command = plan
  variables {
    tags = { created-by = "me" }
  }
  expect_failures = [var.tags]
}

run "pagerduty_key_in_support" {
  command = plan
  variables {
    support = { pagerduty_integration_key = "00000000000000000000000000000000" }
  }
  expect_failures = [terraform_data.inputs]
}

run "alert_aspect" {
  command = plan
  variables {
    support = { alert_aspect = true }
  }
  expect_failures = [var.support]
}

run "pagerduty_url_plain" {
  command = plan
  variables {
    pagerduty_url = "http://events.example.com"
  }
  expect_failures = [var.pagerduty_url]
}

run "pagerduty_url_path" {
  command = plan
  variables {
    pagerduty_url = "https://events.example.com/v2"
  }
  expect_failures = [var.pagerduty_url]
}

run "runbooks_url" {
  command = plan
  variables {
    runbooks_url = "https://example.com/#x"
  }
  expect_failures = [var.runbooks_url]
}

run "replica_regions" {
  command = plan
  variables {
    replica_regions = ["europe"]
  }
  expect_failures = [var.replica_regions]
}

run "replica_region_twice" {
  command = plan
  variables {
    replica_regions = ["eu-west-1", "eu-west-1"]
  }
  expect_failures = [var.replica_regions]
}

run "replica_region_is_home" {
  command = plan
  variables {
    replica_regions = ["us-west-2"]
  }
  expect_failures = [data.aws_iam_policy_document.parameters]
}

run "log_retention_days" {
  command = plan
  variables {
    log_retention_days = 2
  }
  expect_failures = [var.log_retention_days]
}

run "bundles_prefix" {
  command = plan
  variables {
    bundles = { bucket = "acme-artifacts", prefix = "hearth" }
  }
  expect_failures = [var.bundles]
}

run "refused_aspect_artifacts_bucket" {
  command = plan
  variables {
    aspect_artifacts_bucket = "aspect-artifacts-us-west-2"
  }
  expect_failures = [var.aspect_artifacts_bucket]
}

run "refused_remote_cache" {
  command = plan
  variables {
    remote_cache = {}
  }
  expect_failures = [var.remote_cache]
}

run "refused_external_remote_cache" {
  command = plan
  variables {
    external_remote_cache = {}
  }
  expect_failures = [var.external_remote_cache]
}

run "refused_remote" {
  command = plan
  variables {
    remote = {}
  }
  expect_failures = [var.remote]
}

run "refused_delivery_enabled" {
  command = plan
  variables {
    delivery_enabled = true
  }
  expect_failures = [var.delivery_enabled]
}

run "refused_delivery" {
  command = plan
  variables {
    delivery = {}
  }
  expect_failures = [var.delivery]
}

run "refused_monitoring" {
  command = plan
  variables {
    monitoring = {}
  }
  expect_failures = [var.monitoring]
}

run "refused_monitoring_enabled" {
  command = plan
  variables {
    monitoring_enabled = true
  }
  expect_failures = [var.monitoring_enabled]
}

run "refused_gl_runner_groups" {
  command = plan
  variables {
    gl_runner_groups = {}
  }
  expect_failures = [var.gl_runner_groups]
}

run "refused_pagerduty_integration_key" {
  command = plan
  variables {
    pagerduty_integration_key = "00000000000000000000000000000000"
  }
  expect_failures = [terraform_data.inputs]
}

run "host_not_in_hosts" {
  command = plan
  variables {
    bk_runner_groups = { default = { max_runners = 1, queue = "q", resource_type = "default" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "group_name" {
  command = plan
  variables {
    gha_runner_groups = { "a.b" = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "two_groups_with_one_name" {
  command = plan
  variables {
    gha_runner_groups = { a_b = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default" }, "A-b" = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "unknown_resource_type" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "huge" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "unknown_warming_set" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming = true, warming_set = "nightly" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "warming_without_set" {
  command = plan
  variables {
    warming_sets      = {}
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", warming = true } }
  }
  expect_failures = [terraform_data.inputs]
}

run "two_warming_groups_of_one_set" {
  command = plan
  variables {
    gha_runner_groups = { one = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/made-up" } }, two = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/made-up" } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "warming_group_without_room" {
  command = plan
  variables {
    gha_runner_groups = { one = { max_runners = 0, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/made-up" } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "warming_group_with_minimum_equal_to_maximum" {
  command = plan
  variables {
    gha_runner_groups = { one = { min_runners = 1, max_runners = 1, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", policies = { warming_manage = "arn:aws:iam::123456789012:policy/made-up" } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "min_above_max" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", min_runners = 3 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "idle_timeout_too_short" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", agent_idle_timeout_min = 0 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "idle_timeout_too_long" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", agent_idle_timeout_min = 721 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "polling_frequency" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", scaling_polling_frequency = 4 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "scale_out_factor" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", scale_out_factor = 0 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "ssm_access_contradicts" {
  command = plan
  variables {
    enable_ssm_access = true
    support           = { enable_ssm_access = false }
  }
  expect_failures = [terraform_data.inputs]
}

run "delivery_disabled_is_valid" {
  command = plan
  variables {
    delivery_enabled = false
  }
}

run "both_forms_of_ssm_access_agree" {
  command = plan
  variables {
    enable_ssm_access = true
    support           = { enable_ssm_access = true }
  }
}

run "drain_timeout_too_short" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", drain_timeout_min = 0 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "drain_timeout_too_long" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", drain_timeout_min = 2881 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "clone_without_a_commit" {
  command = plan
  variables {
    hosts            = ["gha", "bk"]
    bk_runner_groups = { default = { max_runners = 2, queue = "q", resource_type = "default", git_clone_depth = 0 } }
  }
  expect_failures = [terraform_data.inputs]
}

run "repository_as_url" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "https://github.com/acme/monorepo", resource_type = "default" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "repository_without_owner" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "monorepo", resource_type = "default" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "level" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", level = "enterprise" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "runner_group_of_a_repository" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", runner_group = "release" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "runner_group_without_name" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", level = "organization", runner_group = "" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "no_labels" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", labels = [] } }
  }
  expect_failures = [terraform_data.inputs]
}

run "label_twice" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", labels = ["linux", "Linux"] } }
  }
  expect_failures = [terraform_data.inputs]
}

run "label_with_comma" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", labels = ["linux,x64"] } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_user" {
  command = plan
  variables {
    agents = { gha = { user = "Jobs" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_directory" {
  command = plan
  variables {
    agents = { gha = { directory = "opt/runner" } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_work_directory" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", agent = { work_directory = "work" } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_program_version" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", agent = { program = { version = "../2.336.0", url = "https://example.com/r.tar.gz", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_program_url" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", agent = { program = { version = "2.336.0", url = "http://example.com/r.tar.gz", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_program_checksum" {
  command = plan
  variables {
    agents = { gha = { program = { version = "2.336.0", url = "https://example.com/r.tar.gz", sha256 = "AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } } }
  }
  expect_failures = [terraform_data.inputs]
}

run "agent_of_unknown_provider" {
  command = plan
  variables {
    agents = { github = { user = "ci" } }
  }
  expect_failures = [var.agents]
}

run "ghes_url_with_path" {
  command = plan
  variables {
    ghes_url = "https://github.example.com/api/v3"
  }
  expect_failures = [var.ghes_url]
}

run "ghes_url_of_github" {
  command = plan
  variables {
    ghes_url = "https://github.com"
  }
  expect_failures = [var.ghes_url]
}

run "ghes_url_unencrypted" {
  command = plan
  variables {
    ghes_url = "http://github.example.com"
  }
  expect_failures = [var.ghes_url]
}

run "circleci_api_url" {
  command = plan
  variables {
    circleci_api_url = "http://circleci.example.com"
  }
  expect_failures = [var.circleci_api_url]
}

run "runners_of_an_organization_are_valid" {
  command = plan
  variables {
    gha_runner_groups = { default = { max_runners = 2, queue = "q", gh_repo = "acme/monorepo", resource_type = "default", level = "organization", runner_group = "release", labels = ["linux", "x64 large"], drain_timeout_min = 2880, agent = { user = "ci", program = { version = "2.336.0", url = "https://example.com/r.tar.gz", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } } } }
  }
}
