# One function: code, role and log. queues.tf and subscriptions.tf have its event sources.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # kms:ViaService has the DNS suffix of the partition.
  dns_suffix = data.aws_partition.current.dns_suffix
  region     = data.aws_region.current.region
  lambda     = "${var.name_prefix}_${var.name}"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = local.lambda
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.role_name
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

data "aws_iam_policy_document" "common" {
  dynamic "statement" {
    for_each = local.has_inbox ? [1] : []
    content {
      sid = "PollInboxes"
      # The event source mapping needs the first three actions. The function delays a retry with the last.
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
      resources = [for queue in local.polled : queue.arn]
    }
  }
  dynamic "statement" {
    for_each = local.has_inbox ? [1] : []
    content {
      sid       = "SendToDeadLetterQueue"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.dead[0].arn]
    }
  }
  # For the queues. SQS decrypts and encrypts in the name of the caller.
  dynamic "statement" {
    for_each = local.has_inbox ? var.kms_key_arn[*] : []
    content {
      sid       = "UseKeyOfQueues"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["sqs.${local.region}.${local.dns_suffix}"]
      }
    }
  }
  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
}

resource "aws_iam_role_policy" "common" {
  name   = "inbox-and-log"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.common.json
}

resource "aws_iam_role_policy" "own" {
  name   = "own"
  role   = aws_iam_role.this.id
  policy = var.policy_json

  lifecycle {
    precondition {
      condition     = var.policy_json != null
      error_message = "functions/${var.name} has no IAM statements. Add iam-${var.name}.tf, and add the function to function_policies in functions.tf."
    }
  }
}

resource "aws_lambda_function" "this" {
  function_name    = local.lambda
  description      = var.spec.description
  role             = aws_iam_role.this.arn
  runtime          = "nodejs24.x"
  handler          = "index.handler"
  architectures    = ["arm64"]
  memory_size      = var.spec.memoryMb
  timeout          = var.spec.timeoutSeconds
  filename         = var.code.file
  s3_bucket        = var.code.bucket
  s3_key           = var.code.key
  source_code_hash = var.code.code_sha256
  kms_key_arn      = var.kms_key_arn
  # Callers of a URL take no concurrency from the other functions, and one invocation at a time scales. -1 reserves none.
  reserved_concurrent_executions = var.reserve_concurrency ? try(var.spec.reservedConcurrency, -1) : -1
  tags                           = var.tags

  environment {
    variables = merge(
      var.environment,
      { for queue in aws_sqs_queue.inbox : "INBOX_URL" => queue.url },
      { for queue in aws_sqs_queue.dead : "DEAD_LETTER_URL" => queue.url },
    )
  }

  logging_config {
    # The function writes JSON lines. Lambda's JSON format would wrap them, and embedded metrics would be lost.
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  lifecycle {
    precondition {
      condition     = var.code.file == null ? true : fileexists(var.code.file)
      error_message = "${coalesce(var.code.file, "The bundle")} is missing. Run `npm ci && npm run build` in the repository, use a release archive, or set bundles."
    }
    precondition {
      condition     = var.code.bucket == null || var.code.code_sha256 != null
      error_message = "bundles.json in ${coalesce(var.code.bucket, "the bucket")} has no checksum for ${var.name}. Upload the whole dist folder of one release."
    }
    precondition {
      condition     = alltrue([for value in values(var.environment) : value != null])
      error_message = "functions/${var.name}/function.json names environment values that the module does not provide: ${join(", ", [for key, value in var.environment : key if value == null])}. Add them to function_values in functions.tf."
    }
  }

  depends_on = [aws_iam_role_policy.common, aws_iam_role_policy.own]
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each = local.polled

  function_name           = aws_lambda_function.this.arn
  event_source_arn        = each.value.arn
  batch_size              = var.spec.batchSize
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.spec.concurrency
  }
}
