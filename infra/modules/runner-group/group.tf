resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = var.min_runners
  max_size            = var.max_runners
  vpc_zone_identifier = var.vpc_subnets
  # desired_capacity is not here: schedules and the CI host's backlog set it, and an apply must not set it back.

  health_check_type         = "EC2"
  health_check_grace_period = 0
  # Machines report when they are ready; an apply has no reason to wait for them.
  wait_for_capacity_timeout = "0"
  # Balancing zones terminates machines that are fine. Spot notices are acted on by the function lifecycle.
  suspended_processes = ["AZRebalance"]
  capacity_rebalance  = false
  # Never as a wait for jobs of hours: a deletion that takes longer fails, and is tried again.
  force_delete    = false
  enabled_metrics = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances", "GroupMaxSize"]

  # Whatever replaces a machine starts the new one first.
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 200
  }

  # Initial hooks: those that are added later miss the first machines. Without a report for so many seconds the default
  # result applies: a boot is given up and replaced, a drain is over.
  initial_lifecycle_hook {
    name                 = "${var.name_prefix}-boot"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = 300
    default_result       = "ABANDON"
  }
  initial_lifecycle_hook {
    name                 = "${var.name_prefix}-drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = 300
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
    for_each = local.tags
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  timeouts {
    delete = "60m"
  }

  # A machine that starts without its permissions, or ends without them, cannot say so.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.further, aws_vpc_security_group_egress_rule.this]
}
