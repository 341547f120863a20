data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # IAM names and dashboards belong to the account, not to a region. With this part, deployments in two regions can have one prefix:
  # "us-west-2" becomes "usw2", "ap-southeast-1" becomes "apse1", at most eight characters ("usisobe1").
  directions  = { north = "n", south = "s", east = "e", west = "w", central = "c", northeast = "ne", northwest = "nw", southeast = "se", southwest = "sw" }
  region_code = join("", [for part in split("-", local.region) : lookup(local.directions, part, part)])

  # Derived from names only, so that event patterns and environments are known in the plan.
  bucket_name   = "${var.name_prefix}-snapshots-${local.account}-${local.region}"
  sqs_url       = "https://sqs.${local.region}.${data.aws_partition.current.dns_suffix}/${local.account}"
  reports_queue = "${var.name_prefix}-reports"

  # Users put these two outputs into default_tags of providers. They may therefore depend on variables only.
  cost_allocation_tag_value = try(coalesce(var.cost_allocation_tag_value, var.customer_id), null)
  tags = merge(var.tags, {
    "created-by"              = "hearth"
    (var.cost_allocation_tag) = local.cost_allocation_tag_value
  })

  ssm_access = coalesce(module.inputs.support.enable_ssm_access, var.enable_ssm_access, false)
}
