resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = var.min_runners
  max_size            = var.max_runners
  vpc_zone_identifier = var.vpc_subnets
  # No desired_capacity: functions change it, and an apply must not reset it.

  health_check_type         = "EC2"
  health_check_grace_period = 0
  # Instances report readiness through the launch hook. An apply does not wait for them.
  wait_for_capacity_timeout = "0"
  # Rebalancing of zones terminates healthy instances. The function lifecycle handles Spot interruption notices.
  suspended_processes = ["AZRebalance"]
  capacity_rebalance  = false
  # A forced deletion would end running jobs. A deletion that exceeds its timeout fails; apply again after the drain.
  force_delete    = false
  enabled_metrics = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances", "GroupMaxSize"]

  # A replacement starts the new instance before it terminates the old one.
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 200
  }

  # Initial hooks, because hooks that are added later miss the first instances. After heartbeat_timeout seconds without a
  # heartbeat the default result applies: Auto Scaling replaces a booting instance, and terminates a draining one. A hook waits
  # for at most 100 timeouts and 48 hours (Auto Scaling User Guide, "Lifecycle hooks"): 1,800 s is the least timeout that gives
  # a drain all 48 hours, and a running job survives half an hour without the function lifecycle.
  initial_lifecycle_hook {
    name                 = "${var.name_prefix}-boot"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = 300
    default_result       = "ABANDON"
  }
  initial_lifecycle_hook {
    name                 = "${var.name_prefix}-drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = 1800
    default_result       = "CONTINUE"
  }

  mixed_instances_policy {
    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.this.id
        version            = aws_launch_template.this.latest_version
      }
      dynamic "override" {
        for_each = var.resource_type.instance_types
        content {
          instance_type = override.value
        }
      }
    }
    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = var.resource_type.use_preemptible ? 0 : 100
      on_demand_allocation_strategy            = "prioritized"
      spot_allocation_strategy                 = "price-capacity-optimized"
    }
  }

  dynamic "tag" {
    for_each = { for key, value in local.tags : key => value if !contains(["hearth:deployment", "hearth:role-id", "hearth:warming-set", "hearth:drain-timeout"], key) }
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # Functions may change groups with this tag only, and the name of the group is no proof: anybody may begin a name so.
  tag {
    key                 = "hearth:deployment"
    value               = var.name_prefix
    propagate_at_launch = false
  }

  # The function lifecycle accepts reports of this role only. The id is not that of the name: IAM never uses it again.
  tag {
    key                 = "hearth:role-id"
    value               = aws_iam_role.this.unique_id
    propagate_at_launch = false
  }

  # The function lifecycle believes reports about broken snapshots of this set only.
  dynamic "tag" {
    for_each = var.boots_set[*]
    content {
      key                 = "hearth:warming-set"
      value               = tag.value
      propagate_at_launch = false
    }
  }

  # The function lifecycle accepts no heartbeat of a longer drain.
  dynamic "tag" {
    for_each = var.drain_timeout_min[*]
    content {
      key                 = "hearth:drain-timeout"
      value               = tostring(tag.value * 60)
      propagate_at_launch = false
    }
  }

  timeouts {
    delete = "60m"
  }

  # An instance without these permissions cannot report. They exist before the first instance and until the last one ends.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.further, aws_vpc_security_group_egress_rule.this]
}
