import type { SQSRecord } from 'aws-lambda';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NOW, queueUrl, sqsRecord } from '../../test/support/sqs.ts';
import { ConfigurationError, PermanentError, RetryableError } from './errors.ts';
import { handleBatch } from './inbox.ts';
import type { Message } from './message.ts';
import { dead, done, type Outcome, retryLater, skipped } from './outcome.ts';
import { type MessageHandler, recordHandler } from './record.ts';

const INBOX = queueUrl('aw-test-inbox');
const REPORTS = queueUrl('aw-reports');
const LIMIT_MS = 5_000;
const RETRY_FOR_MS = 60_000;

const record = (id: string, body = '{}', queue = 'aw-test-inbox', receiveCount = 1) =>
  sqsRecord(body, { id, queue, receiveCount, senderId: 'AROA:i-0123456789abcdef0' });

type Sent = { operation: string; input: Record<string, unknown> };

/** Runs a batch, and says what became of it. */
async function run(
  records: SQSRecord[],
  handle: MessageHandler,
  refuse: (sent: Sent) => boolean = () => false,
  { limitMs = LIMIT_MS, now = NOW } = {},
) {
  const sent: Sent[] = [];
  const lines: { level: string; message: string; record: Record<string, unknown> }[] = [];
  const log = (level: string) => (message: unknown, line: unknown) =>
    void lines.push({ level, message: String(message), ...(line as { record: Record<string, unknown> }) });
  const handler = recordHandler(handle, { retryFor: RETRY_FOR_MS, clock: { now: () => now } });
  const answer = await handleBatch(records, handler, limitMs, {
    sqs: {
      send: async (command: { constructor: { name: string }; input: Record<string, unknown> }) => {
        const call = { operation: command.constructor.name.replace('Command', ''), input: command.input };
        if (refuse(call)) throw new Error('SQS is down');
        sent.push(call);
        return {};
      },
    } as never,
    inboxUrls: [INBOX, REPORTS],
    deadLetterUrl: queueUrl('aw-test-dead'),
    logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
  });
  return { kept: answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier), sent, lines };
}

const ends = (outcome: Outcome) => async () => outcome;
const throws = (error: unknown) => async () => {
  throw error;
};

describe('the four outcomes', () => {
  test('done and skipped leave the inbox, and the log says which', async () => {
    for (const outcome of [done({ completed: 'aw-boot' }), skipped('foreign-group')]) {
      const { kept, sent, lines } = await run([record('a')], ends(outcome));
      expect(kept).toEqual([]);
      expect(sent).toEqual([]);
      expect(lines).toMatchObject([
        { level: 'info', message: 'record handled', record: { messageId: 'a', ...outcome } },
      ]);
    }
  });

  test('retry stays, for as long as was asked', async () => {
    const { kept, sent } = await run([record('a')], ends(retryLater('not-yet', { afterSeconds: 90 })));
    expect(kept).toEqual(['a']);
    expect(sent).toEqual([
      {
        operation: 'ChangeMessageVisibility',
        input: { QueueUrl: INBOX, ReceiptHandle: 'handle of a', VisibilityTimeout: 90 },
      },
    ]);
  });

  test('retry waits longer each time, and never longer than SQS can', async () => {
    const wait = async (receiveCount: number, afterSeconds?: number) => {
      const again = retryLater('not-yet', afterSeconds === undefined ? {} : { afterSeconds });
      const { sent } = await run([record('a', '{}', 'aw-test-inbox', receiveCount)], ends(again));
      return Number(sent[0]?.input.VisibilityTimeout);
    };
    expect(await wait(1)).toBeLessThanOrEqual(2);
    expect(await wait(5)).toBeGreaterThanOrEqual(16);
    expect(await wait(1, 1e9)).toBe(43_200);
    expect(await wait(1, -5)).toBe(0);
  });

  test('dead goes to the dead-letter queue at once, whole, with its reason and its sender', async () => {
    const body = JSON.stringify({ some: 'event' });
    const { kept, sent, lines } = await run([record('a', body, 'aw-reports')], ends(dead('forged-instance')));
    expect(kept).toEqual([]);
    expect(sent).toMatchObject([
      {
        operation: 'SendMessage',
        input: {
          QueueUrl: expect.stringContaining('aw-test-dead'),
          MessageBody: body,
          MessageAttributes: {
            Reason: { StringValue: 'forged-instance' },
            Queue: { StringValue: 'aw-reports' },
            MessageId: { StringValue: 'a' },
            SenderId: { StringValue: 'AROA:i-0123456789abcdef0' },
          },
        },
      },
    ]);
    expect(lines).toMatchObject([{ level: 'error', record: { outcome: 'dead' } }]);
  });
});

describe('what a handler throws', () => {
  test.each<[string, unknown, string, string | undefined]>([
    ['a permanent error', new PermanentError('malformed-detail', 'x'), 'dead', 'malformed-detail'],
    ['a retryable one', new RetryableError('host-down', 'x', { afterSeconds: 7 }), 'retry', 'host-down'],
    ['a wrong deployment', new ConfigurationError('x'), 'retry', 'configuration'],
    [
      'throttling',
      Object.assign(new Error('x'), { name: 'ThrottlingException' }),
      'retry',
      'service-unavailable',
    ],
    ['a defect', new TypeError('x is not a function'), 'retry', 'unexpected-error'],
    ['a text', 'oops', 'retry', 'unexpected-error'],
    ['nothing', undefined, 'retry', 'unexpected-error'],
  ])('%s', async (_, error, outcome, reason) => {
    const { lines } = await run([record('a')], throws(error));
    expect(lines[0]?.record).toMatchObject({ outcome, reason });
  });

  test('a defect leaves its stack in the log', async () => {
    const { lines } = await run([record('a')], throws(new TypeError('x is not a function')));
    expect(JSON.stringify(lines)).toContain('inbox.test.ts');
  });
});

describe('deadlines', () => {
  const sentAgo = (ms: number) => [sqsRecord('{}', { sentAt: new Date(NOW.getTime() - ms) })];

  test('a retry after the time of its message is dead', async () => {
    for (const handle of [ends(retryLater('not-yet')), throws(new RetryableError('not-yet', 'x'))]) {
      const { kept, lines, sent } = await run(sentAgo(RETRY_FOR_MS), handle);
      expect(kept).toEqual([]);
      expect(sent[0]?.operation).toBe('SendMessage');
      expect(lines[0]?.record).toMatchObject({
        outcome: 'dead',
        reason: 'deadline-passed',
        detail: { retryReason: 'not-yet' },
      });
    }
  });

  test('before it, the record stays, and the log line names the deadline', async () => {
    const { kept, lines } = await run(sentAgo(RETRY_FOR_MS - 1), ends(retryLater('not-yet')));
    expect(kept).toEqual(['m-1']);
    expect(lines[0]?.record).toMatchObject({
      reason: 'not-yet',
      detail: { deadline: new Date(NOW.getTime() + 1).toISOString() },
    });
  });
});

describe('the time limit of a record', () => {
  const never = () => new Promise<Outcome>(() => {});

  test('a record that hangs is retried, and its batch is not held up', async () => {
    let aborted = false;
    const { kept, lines } = await run(
      [record('a', '"hang"'), record('b', '"ok"')],
      ({ body, signal }) => {
        if (body === 'ok') return ends(done())();
        signal.addEventListener('abort', () => {
          aborted = true;
        });
        return never();
      },
      undefined,
      { limitMs: 50 },
    );
    expect(kept).toEqual(['a']);
    expect(aborted).toBe(true);
    expect(lines.map(({ record: { outcome, reason } }) => [outcome, reason])).toEqual([
      ['done', undefined],
      ['retry', 'time-limit'],
    ]);
  });

  test('the next batch has its own limit', async () => {
    await run([record('a')], never, undefined, { limitMs: 20 });
    const { kept } = await run([record('b')], async ({ signal }) => (signal.aborted ? dead('x') : done()));
    expect(kept).toEqual([]);
  });
});

describe('nothing is lost', () => {
  test('a body that is no JSON is dead, and its neighbours are handled', async () => {
    const seen: unknown[] = [];
    const { kept, lines } = await run(
      [record('a', '{'), record('b', '{"x":1}')],
      async ({ body }: Message) => {
        seen.push(body);
        return done();
      },
    );
    expect(kept).toEqual([]);
    expect(seen).toEqual([{ x: 1 }]);
    expect(lines.find(({ record: { messageId } }) => messageId === 'a')?.record).toMatchObject({
      outcome: 'dead',
      reason: 'malformed-json',
    });
  });

  test('the log of a body that is not JSON quotes nothing of it', async () => {
    const { lines } = await run([record('a', 'routing-key-of-somebody')], ends(done()));
    expect(JSON.stringify(lines)).not.toContain('routing-key');
  });

  test('a body near the size limit of SQS is sent to the dead-letter queue, cut by what the attributes need', async () => {
    for (const length of [1_048_176, 1_048_476, 1_048_576]) {
      const body = 'é'.repeat(length / 2);
      const { kept, sent } = await run([record('a', body)], ends(dead('malformed-report')));
      expect(kept).toEqual([]);
      const { MessageBody = '', MessageAttributes = {} } = (sent[0]?.input ?? {}) as {
        MessageBody?: string;
        MessageAttributes?: Record<string, { DataType: string; StringValue: string }>;
      };
      const attributes = Object.entries(MessageAttributes).map(
        ([name, { DataType, StringValue }]) => name + DataType + StringValue,
      );
      expect(Buffer.byteLength(MessageBody + attributes.join(''))).toBeLessThanOrEqual(1_048_576);
      expect(MessageBody.length).toBeGreaterThan(length / 2 - 200);
    }
  });

  test('a dead record stays when the dead-letter queue refuses it', async () => {
    const { kept, lines } = await run([record('a')], ends(dead('x')), () => true);
    expect(kept).toEqual(['a']);
    expect(lines.at(-1)).toMatchObject({ level: 'error', message: 'record could not be moved' });
  });

  test('a record to be tried again stays when its wait cannot be set', async () => {
    expect((await run([record('a')], ends(retryLater('x')), () => true)).kept).toEqual(['a']);
  });

  test('a record of a queue that nobody has named stays', async () => {
    expect((await run([record('a', '{}', 'other')], ends(retryLater('x')))).kept).toEqual(['a']);
  });

  test('whatever a batch holds, each record ends once and the others do not notice', async () => {
    const fate = fc.constantFrom('done', 'skipped', 'retry', 'dead', 'throws', 'no-json');
    await fc.assert(
      fc.asyncProperty(fc.array(fate, { maxLength: 10 }), async (fates) => {
        const records = fates.map((one, index) =>
          record(`m${index}`, one === 'no-json' ? '<' : JSON.stringify(one)),
        );
        const { kept, sent, lines } = await run(records, async ({ body }) => {
          if (body === 'done') return done();
          if (body === 'skipped') return skipped('x');
          if (body === 'retry') return retryLater('x');
          if (body === 'dead') return dead('x');
          throw new Error('defect');
        });
        const ids = (...wanted: string[]) =>
          fates.flatMap((one, index) => (wanted.includes(one) ? [`m${index}`] : []));
        expect(kept).toEqual(ids('retry', 'throws'));
        const deadLetters = sent.filter(({ operation }) => operation === 'SendMessage');
        expect(deadLetters).toHaveLength(ids('dead', 'no-json').length);
        expect(lines).toHaveLength(fates.length);
      }),
    );
  });
});
