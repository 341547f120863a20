# Every kind of input, on all three CI providers.

variable "region" {
  type    = string
  default = "us-west-2"
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      (module.hearth.cost_allocation_tag) = module.hearth.cost_allocation_tag_value
    }
  }
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

  customer_id        = "acme/monorepo"
  vpc_id             = "vpc-00000000000000000"
  vpc_subnets        = ["subnet-00000000000000001", "subnet-00000000000000002"]
  vpc_subnets_public = []
  hosts              = ["gha", "cci", "bk"]

  support = {
    enable_ssm_access  = true
    support_role_name  = "acme-support"
    operator_role_name = "acme-operator"
  }
  runbooks_url = "https://wiki.example.com/hearth/runbooks"

  # Jobs of one group store results, and those of another one use them.
  build_cache = { disk_percent = 20 }

  ghes_url         = "https://example.ghe.com"
  circleci_api_url = "https://circleci.example.com"

  enable_webhooks     = true
  buildkite_event_bus = "aws.partner/buildkite.com/acme/00000000-0000-0000-0000-000000000000"

  agents = {
    gha = {
      program = {
        version = "2.336.0"
        url     = "https://example.com/runner-2.336.0.tar.gz"
        sha256  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      }
      user = "ci"
    }
  }

  warming_sets = {
    default = {
      bazel = { directory = "/home/ci/monorepo", repository = "https://github.com/acme/monorepo" }
      user  = "ci"
      paths = ["/home/ci/.cache/pip"]
      lazy  = "auto"
    }
    ios = {
      schedule         = "cron(30 2 * * ? *)"
      deadline_minutes = 90
      keep             = 2
      rebuild          = 7
      command          = ["/opt/acme/warm.sh", "--config=\"ci\""]
    }
    # No group has the policy of this set, so it has no runs.
    later = {}
  }

  resource_types = {
    default = {
      instance_types = ["c6id.4xlarge", "c5ad.4xlarge"]
      image_id       = data.aws_ami.runner.id
      tags           = { size = "large" }
    }
    small = {
      instance_type       = "t3a.small"
      image_id            = data.aws_ami.runner.id
      root_volume_size_gb = 32
      use_preemptible     = true
    }
  }

  gha_runner_groups = {
    default = {
      agent_idle_timeout_min    = 10
      gh_repo                   = "acme/monorepo"
      gha_workflow_ids          = ["1234567"]
      max_runners               = 50
      queue                     = "aspect-default"
      resource_type             = "default"
      scaling_polling_frequency = 2
      warming                   = true
      cache                     = "write"
      tags                      = { team = "build" }
      security_groups           = { databases = "sg-00000000000000001" }
    }
    small_jobs = {
      agent_idle_timeout_min = 60 * 12
      gh_repo                = "acme/monorepo"
      min_runners            = 1
      max_runners            = 5
      drain_timeout_min      = 120
      max_instance_lifetime  = 604800
      queue                  = "aspect-small"
      labels                 = ["aspect-small", "linux"]
      resource_type          = "small"
      exclude_oncall_alerts  = true
      agent = {
        directory = "/opt/acme/runner"
        program = {
          version = "2.335.0"
          url     = "https://example.com/runner-2.335.0.tar.gz"
          sha256  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        }
      }
    }
    org = {
      gh_repo       = "acme/monorepo"
      level         = "organization"
      runner_group  = "release"
      max_runners   = 5
      queue         = "org"
      resource_type = "small"
      # Every job sees these directories of the instance. Mount them in the AMI, or in its fstab.
      shared_mounts          = ["/mnt/efs/toolchains"]
      jobs_use_instance_role = true
      cache                  = "read"
      cache_scope            = "main"
    }
    warming = {
      agent_idle_timeout_min = 1
      gh_repo                = "acme/monorepo"
      max_runners            = 1
      policies               = { warming_manage : module.hearth.warming_management_policies["default"].arn }
      queue                  = "aspect-warming"
      resource_type          = "default"
    }
  }

  cci_runner_groups = {
    default = {
      max_runners   = 10
      resource_type = "default"
      warming       = true
      warming_set   = "ios"
      docker        = false
    }
  }

  bk_runner_groups = {
    default = {
      max_runners     = 10
      queue           = "default"
      resource_type   = "small"
      git_clone_depth = 1
      # Every job of this queue trusts every other one.
      job_isolation = "shared"
    }
    warm-ios = {
      max_runners   = 1
      queue         = "warming"
      resource_type = "default"
      warming_set   = "ios"
      policies      = { warming_manage : module.hearth.warming_management_policies["ios"].arn }
    }
  }

  alarm_thresholds = { boot_seconds = 240 }

  permissions_boundary = "arn:aws:iam::123456789012:policy/acme-boundary"
  log_retention_days   = 90
  access_logs          = { bucket = "acme-access-logs" }

  replica_regions = ["eu-west-1"]
  tags            = { environment = "ci" }
}

output "hearth" {
  value = module.hearth
}
