import type { SQSRecord } from 'aws-lambda';
import type { Message } from '../../shared/runtime/message.ts';
import type { Outcome } from '../../shared/runtime/outcome.ts';
import { outcomeOfError } from '../../shared/runtime/record.ts';

const ACCOUNT = '123456789012';
const REGION = 'eu-west-1';

/** The account of the sample events below `test/fixtures/events`. */
export const SAMPLES_ACCOUNT = '210987654321';

/** The time at which messages of tests are handled, unless a test says otherwise. */
export const NOW = new Date('2026-11-23T08:00:00Z');

/** URL of a queue of the tests' account. */
export function queueUrl(name: string): string {
  return `https://sqs.${REGION}.amazonaws.com/${ACCOUNT}/${name}`;
}

/** One record as the event source mapping passes it to a function. */
export function sqsRecord(
  body: string,
  change: {
    id?: string;
    queue?: string;
    account?: string;
    senderId?: string;
    sentAt?: Date;
    receiveCount?: number;
  } = {},
): SQSRecord {
  const sentAt = change.sentAt ?? new Date(NOW.getTime() - 5_000);
  const id = change.id ?? 'm-1';
  return {
    messageId: id,
    receiptHandle: `handle of ${id}`,
    body,
    attributes: {
      ApproximateReceiveCount: String(change.receiveCount ?? 1),
      SentTimestamp: String(sentAt.getTime()),
      ApproximateFirstReceiveTimestamp: String(sentAt.getTime()),
      SenderId: change.senderId ?? 'AIDAEVENTS0000000000',
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:${REGION}:${change.account ?? ACCOUNT}:${change.queue ?? 'aw-test-inbox'}`,
    awsRegion: REGION,
  };
}

/** One message as a handler sees it. */
export function message(body: unknown, change: Partial<Message> = {}): Message {
  return {
    body,
    id: 'm-1',
    queue: 'aw-test-inbox',
    account: ACCOUNT,
    senderId: 'AIDAEVENTS0000000000',
    sentAt: new Date(NOW.getTime() - 5_000),
    receiveCount: 1,
    signal: new AbortController().signal,
    ...change,
  };
}

/** An event as EventBridge delivers it to an inbox. */
export function envelope(
  source: string,
  detailType: string,
  detail: object,
  change: { time?: Date; resources?: string[]; id?: string } = {},
) {
  return {
    version: '0',
    id: change.id ?? 'e-1',
    'detail-type': detailType,
    source,
    account: ACCOUNT,
    // EventBridge gives whole seconds.
    time: (change.time ?? NOW).toISOString().replace(/\.\d+/, ''),
    region: REGION,
    resources: change.resources ?? [],
    detail,
  };
}

/** The outcome that the record loop makes of a handler's promise, its errors included. */
export function outcomeOf(handled: Promise<Outcome>): Promise<Outcome> {
  return handled.catch(outcomeOfError);
}
