import { ChangeMessageVisibilityCommand, SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { SQSBatchResponse, SQSRecord } from 'aws-lambda';
import { backoffSeconds, MAX_VISIBILITY_SECONDS } from './backoff.ts';
import { ConfigurationError } from './errors.ts';
import { type Logger, withLogFields } from './logger.ts';
import { queueName } from './message.ts';
import type { Outcome } from './outcome.ts';
import type { RecordHandler } from './record.ts';

/** Most characters of an attribute of a dead letter. The body stays whole. */
const MAX_ATTRIBUTE_CHARS = 512;

/** Most bytes of an SQS message, body and attributes together (SQS quotas, 1 MiB since August 2025). */
const MAX_MESSAGE_BYTES = 1_048_576;

/** What the record loop needs besides the handler. */
export type InboxTools = {
  sqs: Pick<SQSClient, 'send'>;
  /** URLs of the queues that the function polls. The queue of a record is found among them by name. */
  inboxUrls: readonly string[];
  deadLetterUrl: string;
  logger: Logger;
};

/**
 * Handles every record of a batch side by side and reports to Lambda which of them stay in the inbox (partial batch
 * response). A record that fails, hangs or is malformed does not affect the others.
 *
 * @param limitMs time limit of each record, in milliseconds
 */
export async function handleBatch(
  records: readonly SQSRecord[],
  handle: RecordHandler,
  limitMs: number,
  tools: InboxTools,
): Promise<SQSBatchResponse> {
  const kept = await Promise.all(
    records.map((record) =>
      withLogFields({ messageId: record.messageId }, async () =>
        applyOutcome(record, await handle(record, limitMs), tools),
      ),
    ),
  );
  return {
    batchItemFailures: records
      .filter((_, index) => kept[index])
      .map((record) => ({ itemIdentifier: record.messageId })),
  };
}

/**
 * Logs an outcome and applies it to the queue.
 *
 * @returns whether the record stays in the inbox
 */
async function applyOutcome(record: SQSRecord, outcome: Outcome, tools: InboxTools): Promise<boolean> {
  const line = {
    record: {
      messageId: record.messageId,
      queue: queueName(record.eventSourceARN),
      receiveCount: Number(record.attributes.ApproximateReceiveCount),
      ...outcome,
    },
  };
  try {
    switch (outcome.outcome) {
      case 'retry':
        tools.logger.warn('record handled', line);
        await delayRetry(record, outcome.afterSeconds, tools);
        return true;
      case 'dead':
        tools.logger.error('record handled', line);
        await sendToDeadLetterQueue(record, outcome.reason, tools);
        return false;
      default:
        if (!('quiet' in outcome)) tools.logger.info('record handled', line);
        return false;
    }
  } catch (error) {
    // SQS refused the call. The queue's visibility timeout returns the record, so nothing is lost.
    tools.logger.error('record could not be moved', { ...line, error });
    return true;
  }
}

async function delayRetry(
  record: SQSRecord,
  afterSeconds: number | undefined,
  tools: InboxTools,
): Promise<void> {
  const receiveCount = Number(record.attributes.ApproximateReceiveCount);
  const seconds = Math.min(MAX_VISIBILITY_SECONDS, Math.max(0, afterSeconds ?? backoffSeconds(receiveCount)));
  await tools.sqs.send(
    new ChangeMessageVisibilityCommand({
      QueueUrl: urlOf(record, tools),
      ReceiptHandle: record.receiptHandle,
      VisibilityTimeout: Math.round(seconds),
    }),
  );
}

async function sendToDeadLetterQueue(record: SQSRecord, reason: string, tools: InboxTools): Promise<void> {
  const attributes = {
    Reason: stringAttribute(reason),
    Queue: stringAttribute(queueName(record.eventSourceARN)),
    MessageId: stringAttribute(record.messageId),
    SenderId: stringAttribute(record.attributes.SenderId),
  };
  await tools.sqs.send(
    new SendMessageCommand({
      QueueUrl: tools.deadLetterUrl,
      MessageAttributes: attributes,
      MessageBody: withinLimit(record.body, attributes),
    }),
  );
}

function stringAttribute(value: string) {
  return { DataType: 'String', StringValue: value.slice(0, MAX_ATTRIBUTE_CHARS) || '-' };
}

/** The body, cut at its end where body and attributes together exceed what SQS accepts. */
function withinLimit(body: string, attributes: Record<string, ReturnType<typeof stringAttribute>>): string {
  // Name, type and value of each attribute count (SQS Developer Guide, "Message metadata").
  const attributeBytes = Object.entries(attributes)
    .flatMap(([name, { DataType, StringValue }]) => [name, DataType, StringValue])
    .reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const room = MAX_MESSAGE_BYTES - attributeBytes;
  const bytes = Buffer.from(body);
  if (bytes.length <= room) return body;
  // A character that the cut splits becomes U+FFFD, which is longer than what is left of it.
  return bytes.subarray(0, room - 3).toString('utf8');
}

function urlOf(record: SQSRecord, tools: InboxTools): string {
  const name = queueName(record.eventSourceARN);
  const url = tools.inboxUrls.find((candidate) => queueName(candidate) === name);
  if (!url)
    throw new ConfigurationError(`a record came from queue ${name}, which the environment does not name`);
  return url;
}
