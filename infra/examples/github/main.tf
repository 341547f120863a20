# Minimal deployment for GitHub Actions: one group for jobs, and one warming group. The AMI has the agent, the user "runner" and Bazel.

provider "aws" {
  region = "us-west-2"
}

data "aws_ami" "runner" {
  owners      = ["self"]
  most_recent = true
  filter {
    name   = "name"
    values = ["ci-runner-amd64-*"]
  }
}

module "hearth" {
  source = "../.."

  customer_id = "acme"
  vpc_id      = "vpc-00000000000000000"
  vpc_subnets = ["subnet-00000000000000001"]
  hosts       = ["gha"]

  warming_sets = {
    default = {
      user = "runner"
      bazel = {
        directory  = "/var/lib/hearth-agent/gha/work/monorepo/monorepo" # where jobs check out
        repository = "https://github.com/acme/monorepo.git"
      }
    }
  }

  resource_types = {
    default = {
      instance_types = ["c6id.4xlarge"]
      image_id       = data.aws_ami.runner.id
    }
  }

  gha_runner_groups = {
    default = {
      max_runners   = 20
      resource_type = "default"
      warming       = true
      gh_repo       = "acme/monorepo"
      queue         = "aspect-default"
      labels        = ["aspect-default", "linux"]
    }
    warming = {
      max_runners   = 1
      resource_type = "default"
      policies      = { warming_manage : module.hearth.warming_management_policies["default"].arn }
      gh_repo       = "acme/monorepo"
      queue         = "aspect-warming"
    }
  }
}

output "pagerduty_routing_secret_id" {
  value = module.hearth.pagerduty_routing_secret_id
}

output "agent_secret_ids" {
  value = module.hearth.agent_secret_ids
}

output "dashboard_url" {
  value = module.hearth.dashboard_url
}
