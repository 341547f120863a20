output "queues" {
  description = "URLs of the inbox (`inbox`), the dead-letter queue (`dead`) and further inboxes (`extra`). Null for a function without queues."
  value = local.has_inbox ? {
    inbox = aws_sqs_queue.inbox[0].url
    dead  = aws_sqs_queue.dead[0].url
    extra = { for name, queue in aws_sqs_queue.extra : name => queue.url }
  } : null
}

output "url" {
  description = "URL of the function, or null."
  value       = one(values(aws_lambda_function_url.this)[*].function_url)
}

output "reserved_concurrency" {
  description = "Concurrency that the function reserves, or -1."
  value       = aws_lambda_function.this.reserved_concurrent_executions
}
