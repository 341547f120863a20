import type { SQSRecord } from 'aws-lambda';

/** One record of an inbox, as a handler sees it. */
export type Message = {
  /** The parsed JSON body, not yet validated. */
  body: unknown;
  /** The message id that SQS assigned. */
  id: string;
  /** Name of the queue that the record came from (the last part of its ARN). */
  queue: string;
  /** Account of that queue, in which the function runs. */
  account: string;
  /** The sender as SQS stamps it: `<role id>:<session>` for a role. The sender cannot choose it. */
  senderId: string;
  /** When the message was first sent to the queue. */
  sentAt: Date;
  /** Number of receives, this one included. */
  receiveCount: number;
  /** Aborts when the time limit of the record has passed; after that, nobody reads the handler's result. */
  signal: AbortSignal;
};

/**
 * @param signal aborts at the record's time limit
 * @throws {SyntaxError} if the body is not JSON
 */
export function toMessage(record: SQSRecord, signal: AbortSignal): Message {
  return {
    body: JSON.parse(record.body),
    id: record.messageId,
    queue: queueName(record.eventSourceARN),
    account: record.eventSourceARN.split(':')[4] ?? '',
    senderId: record.attributes.SenderId,
    sentAt: sentAt(record),
    receiveCount: Number(record.attributes.ApproximateReceiveCount),
    signal,
  };
}

/** When a record was first sent to its queue. */
export function sentAt(record: SQSRecord): Date {
  return new Date(Number(record.attributes.SentTimestamp));
}

/** The last part of a queue's ARN or URL. */
export function queueName(arnOrUrl: string): string {
  return arnOrUrl.slice(Math.max(arnOrUrl.lastIndexOf(':'), arnOrUrl.lastIndexOf('/')) + 1);
}
