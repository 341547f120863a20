# Every example plans without an AWS account.

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
  mock_data "aws_ami" {
    defaults = { id = "ami-00000000000000000" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

run "buildkite" {
  command = plan
  module {
    source = "./examples/buildkite"
  }
}

run "circleci" {
  command = plan
  module {
    source = "./examples/circleci"
  }
}

run "complete" {
  command = plan
  module {
    source = "./examples/complete"
  }
}

run "github" {
  command = plan
  module {
    source = "./examples/github"
  }
}
