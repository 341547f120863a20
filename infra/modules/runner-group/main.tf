# One runner group. User data contains the configuration of its instances.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # Everything that ends up on an instance, beside the program's source.
  runner_folder = "${path.module}/../../runner"

  # var.tags comes last, so that resource types and groups cannot override created-by and the cost allocation tag.
  tags = merge(var.resource_type.tags, var.group_tags, var.tags, { Name = var.name, "hearth:group" = var.group_id, "hearth:writes-snapshots" = tostring(var.writes_snapshots) })

  # bootstrap.sh mounts a local NVMe disk at /mnt/ephemeral, if the instance has one.
  directories = { images = "/mnt/ephemeral/aw", warm = "/mnt/ephemeral/aw/warm", state = "/var/lib/aw-runner" }

  # The CloudWatch agent sends the boot log while the boot runs, because a failed instance is terminated soon.
  cloudwatch = {
    agent = { run_as_user = "root" }
    logs = {
      force_flush_interval = 1
      logs_collected = { files = { collect_list = [
        for stream, file in { aw-runner = "/var/log/aw-runner.log", cloud-init = "/var/log/cloud-init-output.log" } : {
          file_path                     = file
          log_group_name                = "${var.name_prefix}_runners"
          log_stream_name               = "${var.name}/{instance_id}/${stream}"
        }
      ] } }
    }
  }

  config = merge(
    {
      version            = 1
      region             = data.aws_region.current.region
      bucket             = var.bucket_name
      reportsUrl         = var.reports.url
      group              = var.group_id
      autoScalingGroup   = var.name
      directories        = merge(local.directories, { for key, paths in { paths = var.paths } : key => paths if length(paths) > 0 })
      idleTimeoutMinutes = var.idle_timeout_min
      heartbeatSeconds   = 60
      agent              = var.agent
      jobs               = var.jobs
    },
    # Both branches of a conditional must have one type. A for expression adds the attribute only if it has a value.
    { for key, set in { warmingSet = var.boots_set } : key => set if set != null },
    { for key, lazy in { lazy = var.lazy } : key => lazy if lazy == "auto" },
    { for key, run in { warming = var.warming } : key => run if run != null },
    { for key, minutes in { drainTimeoutSeconds = var.drain_timeout_min } : key => minutes * 60 if minutes != null },
    { for key, one in { cache = var.cache } : key => one if one != null },
    { for key, one in { registrationUrl = var.registration } : key => one.url if one != null },
  )

  # The URL of the function is unknown in the first plan. A placeholder that is longer gives the size of user data.
  sized_config = merge(local.config, { registrationUrl = format("%100s", "https") })

  user_data = {
    for variant, config in { real = jsonencode(local.config), sized = jsonencode(local.sized_config) } :
    variant => templatefile("${local.runner_folder}/user-data.yaml.tftpl", {
      config_json     = config
      cloudwatch_json = jsonencode(local.cloudwatch)
      warm            = local.directories.warm
      bootstrap       = file("${local.runner_folder}/bootstrap.sh")
      unit            = file("${local.runner_folder}/aw-runner.service")
      logrotate       = file("${local.runner_folder}/aw-runner.logrotate")
      source_env = join("\n", [
        "RUNNER_URL=s3://${var.bucket_name}/${var.runner.key}",
        "RUNNER_SHA256=${var.runner.sha256}",
        "AWS_DEFAULT_REGION=${data.aws_region.current.region}",
      ])
    })
  }
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "Runners of ${var.group_id}. No inbound traffic."
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }

  security_group_id = aws_security_group.this.id
  description       = "All outbound traffic."
  ip_protocol       = "-1"
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
  tags              = local.tags
}

resource "aws_launch_template" "this" {
  name          = var.name
  description   = "Runners of ${var.group_id}."
  image_id      = var.resource_type.image_id
  instance_type = try(var.resource_type.instance_types[0], null)
  user_data     = base64encode(local.user_data.real)
  # New instances use the new version. Running instances keep theirs.
  update_default_version = true
  tags                   = local.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  # A container is one network hop further away, so a job in a container cannot get credentials of the instance.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  network_interfaces {
    associate_public_ip_address = false
    delete_on_termination       = true
    security_groups             = concat([aws_security_group.this.id], values(var.security_groups))
  }

  block_device_mappings {
    device_name = var.resource_type.root_device_name
    ebs {
      volume_size           = var.resource_type.root_volume_size_gb
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])
    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }

  lifecycle {
    precondition {
      # EC2 limits user data to 16 KB before encoding.
      condition     = length(base64encode(local.user_data.sized)) < 16384 * 4 / 3
      error_message = "User data of ${var.group_id} is larger than 16 KB, the limit of EC2. Shorten the command of the warming set, paths, or shared_mounts."
    }
  }
}
