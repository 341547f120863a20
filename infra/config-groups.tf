# config/groups.json: what the functions need to know about each runner group and its CI provider. It contains ids of secrets
# and no secret. shared/fleet/group-settings.ts has the schema.

locals {
  # As in terraform-aws-github-runner: the URL of a GitHub Enterprise Server, or of a tenant of ghe.com.
  github_host = var.ghes_url == null ? null : trimprefix(trimsuffix(var.ghes_url, "/"), "https://")
  github_api_url = (
    local.github_host == null ? "https://api.github.com" :
    endswith(local.github_host, ".ghe.com") ? "https://api.${local.github_host}" :
    "https://${local.github_host}/api/v3"
  )

  # A warming group executes the run of its set and nothing else. All other groups have an agent.
  group_takes_jobs = { for id, same in local.groups : id => !same[0].makes_set }

  # An id of a secret is its ARN, because names end in a random suffix.
  provider_settings = {
    for id, same in local.groups : id => {
      gha = {
        apiUrl = local.github_api_url
        owner  = split("/", try(same[0].gh_repo, "/"))[0]
        # The organization has no list of jobs, so the jobs of gh_repo count also for its groups.
        jobsRepository = try(split("/", same[0].gh_repo)[1], null)
        workflowIds    = try(length(same[0].gha_workflow_ids) > 0 ? [for id in same[0].gha_workflow_ids : tostring(id)] : null, null)
        repository     = try(same[0].level, null) == "repository" ? try(split("/", same[0].gh_repo)[1], null) : null
        runnerGroup    = try(same[0].runner_group, null)
        labels         = try(same[0].labels == null ? tolist([same[0].queue]) : same[0].labels, null)
        appSecret      = one([for name, secret in aws_secretsmanager_secret.agent : secret.arn if name == "gha_app"])
        tokenSecret    = one([for name, secret in aws_secretsmanager_secret.agent : secret.arn if name == "gha_token"])
      }
      bk = {
        apiUrl      = "https://agent.buildkite.com/v3"
        queue       = try(same[0].queue, null)
        tokenSecret = aws_secretsmanager_secret.agent[local.group_secrets[id]].arn
      }
      cci = {
        apiUrl            = var.circleci_api_url
        credentialsSecret = aws_secretsmanager_secret.agent[local.group_secrets[id]].arn
      }
    }
  }

  groups_file = {
    version = 1
    groups = {
      for id, same in local.groups : id => merge(
        {
          role             = local.group_roles[id]
          autoScalingGroup = "${var.name_prefix}-${same[0].host}-${same[0].name}"
          minRunners       = same[0].min_runners
          maxRunners       = same[0].max_runners
          takesJobs        = local.group_takes_jobs[id]
          provider         = same[0].host
          pollsPerMinute   = same[0].scaling_polling_frequency
          scaleOutFactor   = coalesce(same[0].scale_out_factor, 1)
          replaceOutdated  = same[0].replace_outdated_runners
        },
        { for setting, value in { maxInstanceLifetimeSeconds = same[0].max_instance_lifetime } : setting => value if value != null },
        { for setting, value in local.provider_settings[id][same[0].host] : setting => value if value != null },
      )
    }
  }
}

resource "aws_s3_object" "groups" {
  bucket       = module.warming.bucket_id
  key          = "config/groups.json"
  content_type = "application/json"
  content      = jsonencode(local.groups_file)

  # S3 allows ten tags per object and rejects more. Cost allocation does not use tags of objects.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}
