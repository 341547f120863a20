# A function that only answers requests at its URL, without queues.

# No call to AWS. Run with `terraform init -backend=false && terraform test`.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-west-2" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name        = "webhooks"
  name_prefix = "aw"
  role_name   = "aw_webhooks_usw2"
  event_bus   = "aw-reports"
  spec = {
    description         = "Answers requests."
    memoryMb            = 256
    timeoutSeconds      = 10
    reservedConcurrency = 5
    subscriptions       = [{ kind = "url", name = "requests", auth = "none" }]
    environment         = ["NAME_PREFIX"]
  }
  # Any file that exists.
  code                 = { file = "versions.tf", code_sha256 = "YQ==" }
  environment          = { NAME_PREFIX = "aw" }
  policy_json          = "{}"
  schedules_by_set     = { default = "rate(1 day)" }
  senders              = {}
  buses                = {}
  reserve_concurrency  = true
  kms_key_arn          = null
  permissions_boundary = null
  log_retention_days   = 30
  runbook              = { tags = {}, line = "" }
  dead_letter_topics   = []
  tags                 = {}
}

run "has_a_url_and_no_queue" {
  command = plan
  module {
    source = "./modules/function"
  }
  assert {
    condition     = aws_lambda_function_url.this["requests"].authorization_type == "NONE" && aws_lambda_function_url.this["requests"].function_name == "aw_webhooks"
    error_message = "The URL is not that of function.json."
  }
  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == 5
    error_message = "The concurrency of function.json is not reserved."
  }
  assert {
    condition     = length(aws_sqs_queue.inbox) + length(aws_sqs_queue.dead) + length(aws_sqs_queue.extra) == 0 && length(aws_lambda_event_source_mapping.this) == 0 && length(aws_cloudwatch_metric_alarm.dead) == 0
    error_message = "A function without an inbox has queues."
  }
  assert {
    condition     = aws_lambda_function.this.environment[0].variables == tomap({ NAME_PREFIX = "aw" })
    error_message = "The environment names queues that do not exist."
  }
  assert {
    condition     = output.queues == null
    error_message = "The output names queues that do not exist."
  }
}

run "has_both_if_an_event_leads_to_it" {
  command = plan
  module {
    source = "./modules/function"
  }
  variables {
    spec = {
      description         = "Answers requests and handles events."
      memoryMb            = 256
      timeoutSeconds      = 10
      reservedConcurrency = 5
      concurrency         = 2
      batchSize           = 10
      receiveLimit        = 100
      subscriptions = [
        { kind = "url", name = "requests", auth = "iam" },
        { kind = "events", name = "events", pattern = { source = ["aws.ec2"] } },
      ]
      environment = ["NAME_PREFIX"]
    }
    reserve_concurrency = false
  }
  assert {
    condition     = aws_lambda_function_url.this["requests"].authorization_type == "AWS_IAM" && length(aws_sqs_queue.inbox) == 1 && length(aws_lambda_event_source_mapping.this) == 1
    error_message = "The URL or the inbox is missing."
  }
  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == -1
    error_message = "The function reserves concurrency although that is switched off."
  }
}
