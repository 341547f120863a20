# Bundles from a bucket instead of dist.

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
  customer_id    = "acme"
  vpc_id         = "vpc-00000000000000000"
  vpc_subnets    = ["subnet-00000000000000001"]
  hosts          = ["gha"]
  resource_types = {}
  bundles        = { bucket = "acme-artifacts", prefix = "hearth/", sha256 = "63119e7963246ef38458f38bc29a2dbef380a9923f52c7808f0e39297c16a043" }
}

override_data {
  target = data.aws_s3_object.bundles[0]
  values = {
    body = "{\"runner\":{\"sha256\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"},\"functions\":{\"alarms\":{\"code_sha256\":\"YQ==\"},\"lifecycle\":{\"code_sha256\":\"Yg==\"},\"parameters\":{\"code_sha256\":\"Yw==\"},\"registration\":{\"code_sha256\":\"ZQ==\"},\"scaling\":{\"code_sha256\":\"Zg==\"},\"warming\":{\"code_sha256\":\"ZA==\"}}}"
  }
}

run "names_keys_and_checksums" {
  command = plan
  assert {
    condition     = local.code.alarms.key == "hearth/functions/alarms.zip" && local.code.alarms.code_sha256 == "YQ==" && local.code.alarms.file == null
    error_message = "A function does not come from the bucket."
  }
  assert {
    condition     = aws_s3_object_copy.runner[0].source == "acme-artifacts/hearth/aw-runner.mjs" && aws_s3_object_copy.runner[0].key == "tools/aw-runner-0123456789abcdef.mjs"
    error_message = "The runner program does not come from the bucket."
  }
}

run "another_file_is_refused" {
  command = plan
  variables {
    bundles = { bucket = "acme-artifacts", prefix = "hearth/", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  }
  expect_failures = [data.aws_s3_object.bundles[0]]
}

run "without_a_checksum_the_plan_warns" {
  command = plan
  variables {
    bundles = { bucket = "acme-artifacts", prefix = "hearth/" }
  }
  expect_failures = [check.checksum_of_bundles]
}
