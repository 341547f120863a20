output "queues" {
  description = "URLs of the inbox (`inbox`), the dead-letter queue (`dead`) and further inboxes (`extra`)."
  value = {
    inbox = aws_sqs_queue.inbox.url
    dead  = aws_sqs_queue.dead.url
    extra = { for name, queue in aws_sqs_queue.extra : name => queue.url }
  }
}
