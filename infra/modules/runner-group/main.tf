# One runner group. Its machines are told what they are by user data, and everything else by what happens.

data "aws_region" "current" {}

locals {
  # Everything that ends up on an instance, beside the program's source.
  runner_folder = "${path.module}/../../runner"

  # created-by and the cost tag stay what they are, whatever a type or a group says.
  tags = merge(var.resource_type.tags, var.group_tags, var.tags, { Name = var.name, "hearth:group" = var.group_id })

  # Local NVMe, if the machine has it: see bootstrap.sh.
  directories = { layers = "/mnt/ephemeral/aw/layers", warm = "/mnt/ephemeral/aw/warm", state = "/var/lib/aw-runner" }

  # The whole boot, sent while it lasts: a machine that fails is soon gone, and its disk with it.
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
      directories        = local.directories
      idleTimeoutMinutes = var.idle_timeout_min
      heartbeatSeconds   = 60
      agent              = var.agent
    },
    # What a condition gives must be of one type: so each of these is there or not.
    { for key, set in { warmingSet = var.boots_set } : key => set if set != null },
    { for key, run in { warming = var.warming } : key => run if run != null },
  )

  # The secret's ARN is known after its creation only. One of the same length tells the size of user data in the plan.
  sized_config = merge(local.config, { agent = merge(var.agent, { secretId = format("%150s", "arn") }) })

  user_data = {
    for use, config in { real = jsonencode(local.config), sized = jsonencode(local.sized_config) } :
    use => templatefile("${local.runner_folder}/user-data.yaml.tftpl", {
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
  description = "Runners of ${var.group_id}: nothing comes in."
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }

  security_group_id = aws_security_group.this.id
  description       = "Builds fetch from anywhere."
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
  # New machines follow it, and those that run stay as they are until they go.
  update_default_version = true
  tags                   = local.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  # A job in a container is one hop further away, and gets no credentials of the machine.
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
      # EC2 takes 16 KB before it is encoded.
      condition     = length(base64encode(local.user_data.sized)) < 16384 * 4 / 3
      error_message = "User data of ${var.group_id} is larger than the 16 KB that EC2 takes: shorten the warming set's command."
    }
  }
}
