import { ChangeMessageVisibilityCommand, SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { SQSBatchResponse, SQSRecord } from 'aws-lambda';
import { isTransient } from './aws-errors.ts';
import { backoffSeconds, MAX_VISIBILITY_SECONDS } from './backoff.ts';
import type { Clock } from './clock.ts';
import { dead, type Outcome, retryLater } from './outcome.ts';
import { ConfigurationError, errorText, PermanentError, RetryableError } from './errors.ts';
import type { Logger } from './logger.ts';
import { type Message, queueName, toMessage } from './message.ts';
import { redactText } from './redact.ts';

/** SQS's limit for a message attribute value that we use as a label; the body is kept whole. */
const MAX_ATTRIBUTE_CHARS = 512;

/** What the record loop needs besides the handler. */
export type InboxTools = {
  sqs: Pick<SQSClient, 'send'>;
  /** URLs of the queues that the function polls; a record's queue is found among them by name. */
  inboxUrls: readonly string[];
  deadLetterUrl: string;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  clock: Clock;
};

/** Brings one parsed message to its outcome. May throw any of the named errors instead of returning one. */
export type MessageHandler = (message: Message) => Promise<Outcome>;

/**
 * Runs every record of a batch to exactly one outcome and tells Lambda which of them stay in the inbox. Records do
 * not see each other: one that fails, hangs on its back-off or is malformed leaves the rest of its batch alone.
 */
export async function runInbox(
  records: readonly SQSRecord[],
  handle: MessageHandler,
  tools: InboxTools,
): Promise<SQSBatchResponse> {
  const kept = await Promise.all(records.map((record) => runRecord(record, handle, tools)));
  return {
    batchItemFailures: records
      .filter((_, index) => kept[index])
      .map((record) => ({ itemIdentifier: record.messageId })),
  };
}

/** @returns whether the record stays in the inbox */
async function runRecord(record: SQSRecord, handle: MessageHandler, tools: InboxTools): Promise<boolean> {
  const outcome = endAtDeadline(await outcomeOf(record, handle), tools.clock);
  const line = {
    record: {
      messageId: record.messageId,
      queue: queueName(record.eventSourceARN),
      receiveCount: Number(record.attributes.ApproximateReceiveCount),
      ...outcome,
    },
  };
  try {
    if (outcome.outcome === 'retry') {
      tools.logger.warn('record handled', line);
      await delayRetry(record, outcome.afterSeconds, tools);
      return true;
    }
    if (outcome.outcome === 'dead') {
      tools.logger.error('record handled', line);
      await sendToDeadLetterQueue(record, outcome.reason, tools);
      return false;
    }
  } catch (error) {
    // The queue itself refused: SQS's own visibility timeout brings the record back, so nothing is lost.
    tools.logger.error('record could not be moved', { ...line, error });
    return true;
  }
  tools.logger.info('record handled', line);
  return false;
}

async function outcomeOf(record: SQSRecord, handle: MessageHandler): Promise<Outcome> {
  let message: Message;
  try {
    message = toMessage(record);
  } catch (error) {
    return dead('malformed-json', { error: errorText(error) });
  }
  try {
    return await handle(message);
  } catch (error) {
    return outcomeOfError(error);
  }
}

/**
 * What a thrown error means for its record. An error that nobody has named is tried again: it may be a defect that
 * the next deployment mends, and the queue's receive limit ends it otherwise.
 */
export function outcomeOfError(error: unknown): Outcome {
  const detail = { error: redactText(errorText(error)) };
  if (error instanceof PermanentError) return dead(error.reason, detail);
  if (error instanceof RetryableError) {
    return retryLater(error.reason, {
      detail,
      ...(error.afterSeconds !== undefined && { afterSeconds: error.afterSeconds }),
    });
  }
  if (error instanceof ConfigurationError) return retryLater('configuration', { detail });
  if (isTransient(error)) return retryLater('service-unavailable', { detail });
  const stack = error instanceof Error && error.stack ? { stack: redactText(error.stack) } : {};
  return retryLater('unexpected-error', { detail: { ...detail, ...stack } });
}

function endAtDeadline(outcome: Outcome, clock: Clock): Outcome {
  if (outcome.outcome !== 'retry' || !outcome.deadline || outcome.deadline > clock.now()) return outcome;
  return dead('deadline-passed', { ...outcome.detail, retryReason: outcome.reason, deadline: outcome.deadline });
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
  await tools.sqs.send(
    new SendMessageCommand({
      QueueUrl: tools.deadLetterUrl,
      MessageBody: record.body,
      MessageAttributes: {
        Reason: label(reason),
        Queue: label(queueName(record.eventSourceARN)),
        MessageId: label(record.messageId),
        SenderId: label(record.attributes.SenderId),
      },
    }),
  );
}

function label(value: string) {
  return { DataType: 'String', StringValue: value.slice(0, MAX_ATTRIBUTE_CHARS) || '-' };
}

function urlOf(record: SQSRecord, tools: InboxTools): string {
  const name = queueName(record.eventSourceARN);
  const url = tools.inboxUrls.find((candidate) => queueName(candidate) === name);
  if (!url)
    throw new ConfigurationError(`a record came from queue ${name}, which the environment does not name`);
  return url;
}
