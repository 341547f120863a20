import type { SQSRecord } from 'aws-lambda';
import {
  handleLifecycleMessage,
  type LifecycleDeps,
  RETRY_FOR_MS,
} from '../../functions/lifecycle/handle.ts';
import { handleBatch } from '../../shared/runtime/inbox.ts';
import { recordHandler } from '../../shared/runtime/record.ts';
import { INSTANCE, ROLE_ID } from '../support/auto-scaling-model.ts';

/** Seconds after which a retried message is received again. */
const AGAIN = 3;

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Simulated time stands still while a record is handled: no limit applies. */
const NO_LIMIT_MS = 60_000;

type Waiting = { record: SQSRecord; at: number };

/**
 * An inbox in simulated time: every message is delivered at least once, with its delay, through the real record loop and the
 * real handler.
 */
export class QueueModel {
  readonly dead: string[] = [];
  readonly outcomes: string[] = [];
  private waiting: Waiting[] = [];
  private count = 0;

  /** @param at second of the delivery */
  send(queue: 'reports' | 'inbox', body: unknown, at: number, sentAt: number): void {
    this.count += 1;
    const record: SQSRecord = {
      messageId: `m${this.count}`,
      receiptHandle: `m${this.count}`,
      body: JSON.stringify(body),
      attributes: {
        ApproximateReceiveCount: '1',
        SentTimestamp: String(sentAt * 1000),
        ApproximateFirstReceiveTimestamp: '0',
        SenderId: queue === 'reports' ? `${ROLE_ID}:${INSTANCE}` : 'AIDAEVENTS',
      },
      messageAttributes: {},
      md5OfBody: '',
      eventSource: 'aws:sqs',
      eventSourceARN: `arn:aws:sqs:us-east-1:123456789012:${queue}`,
      awsRegion: 'us-east-1',
    };
    this.waiting.push({ record, at });
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Delivers what is due, the latest first: SQS standard queues have no order. */
  async deliver(now: number, deps: LifecycleDeps): Promise<void> {
    const due = this.waiting.filter((message) => message.at <= now).reverse();
    this.waiting = this.waiting.filter((message) => message.at > now);
    for (const { record } of due) {
      const handle = recordHandler((message) => handleLifecycleMessage(message, deps), {
        retryFor: RETRY_FOR_MS,
        clock: { now: () => new Date(now * 1000) },
      });
      const answer = await handleBatch([record], handle, NO_LIMIT_MS, {
        sqs: {
          send: async (command: { input: { MessageBody?: string } }) => {
            if (command.input.MessageBody !== undefined) this.dead.push(command.input.MessageBody);
            return {};
          },
        } as never,
        inboxUrls: ['http://q/1/inbox', 'http://q/1/reports'],
        deadLetterUrl: 'http://q/1/dead',
        logger: {
          ...silent,
          info: (_: string, line?: object) => this.outcomes.push(JSON.stringify(line)),
        },
      });
      if (answer.batchItemFailures.length === 0) continue;
      const received = Number(record.attributes.ApproximateReceiveCount) + 1;
      this.waiting.push({
        record: {
          ...record,
          attributes: { ...record.attributes, ApproximateReceiveCount: String(received) },
        },
        at: now + AGAIN,
      });
    }
  }
}
