import type { SQSRecord } from 'aws-lambda';

/** One record of an inbox, as a handler sees it. */
export type Message = {
  /** The parsed JSON body. Anything at all: parse it with a schema before use. */
  body: unknown;
  /** SQS's own id of the message. */
  id: string;
  /** Name of the queue it came from (the last part of its ARN). */
  queue: string;
  /** Who sent it, as SQS itself says: `<role id>:<session>` for a role. The sender cannot choose it. */
  senderId: string;
  /** When it was first sent to the queue. */
  sentAt: Date;
  /** How many times it has been received, this time included. */
  receiveCount: number;
};

/** @throws {SyntaxError} if the body is not JSON */
export function toMessage(record: SQSRecord): Message {
  return {
    body: JSON.parse(record.body),
    id: record.messageId,
    queue: queueName(record.eventSourceARN),
    senderId: record.attributes.SenderId,
    sentAt: new Date(Number(record.attributes.SentTimestamp)),
    receiveCount: Number(record.attributes.ApproximateReceiveCount),
  };
}

/** The last part of a queue's ARN or URL. */
export function queueName(arnOrUrl: string): string {
  return arnOrUrl.slice(Math.max(arnOrUrl.lastIndexOf(':'), arnOrUrl.lastIndexOf('/')) + 1);
}
