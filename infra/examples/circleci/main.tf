# Minimal deployment for CircleCI: one group for jobs, and one warming group.

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
  hosts       = ["cci"]

  warming_sets = {
    default = {
      user = "runner"
      bazel = {
        directory  = "/var/lib/hearth-agent/cci/work/task" # where jobs check out
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

  cci_runner_groups = {
    default = {
      max_runners   = 20
      resource_type = "default"
      warming       = true
    }
    warming = {
      max_runners   = 1
      resource_type = "default"
      policies      = { warming_manage : module.hearth.warming_management_policies["default"].arn }
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
