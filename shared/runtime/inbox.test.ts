import type { SQSRecord } from 'aws-lambda';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dead, done, type Outcome, retryLater, skipped } from './outcome.ts';
import { ConfigurationError, PermanentError, RetryableError } from './errors.ts';
import { type MessageHandler, runInbox } from './inbox.ts';
import type { Message } from './message.ts';

const NOW = new Date('2026-11-23T08:00:00Z');
const INBOX = 'https://sqs.eu-west-1.amazonaws.com/123456789012/aw-test-inbox';
const REPORTS = 'https://sqs.eu-west-1.amazonaws.com/123456789012/aw-reports';

function record(id: string, body = '{}', queue = 'aw-test-inbox', receiveCount = 1): SQSRecord {
  return {
    messageId: id,
    receiptHandle: `handle of ${id}`,
    body,
    attributes: {
      ApproximateReceiveCount: String(receiveCount),
      SentTimestamp: String(NOW.getTime() - 5000),
      ApproximateFirstReceiveTimestamp: '0',
      SenderId: 'AROA:i-0123456789abcdef0',
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:eu-west-1:123456789012:${queue}`,
    awsRegion: 'eu-west-1',
  };
}

type Sent = { operation: string; input: Record<string, unknown> };

/** Runs a batch, and says what became of it. */
async function run(
  records: SQSRecord[],
  handle: MessageHandler,
  refuse: (sent: Sent) => boolean = () => false,
) {
  const sent: Sent[] = [];
  const lines: { level: string; message: string; record: Record<string, unknown> }[] = [];
  const log = (level: string) => (message: unknown, line: unknown) =>
    void lines.push({ level, message: String(message), ...(line as { record: Record<string, unknown> }) });
  const answer = await runInbox(records, handle, {
    sqs: {
      send: async (command: { constructor: { name: string }; input: Record<string, unknown> }) => {
        const call = { operation: command.constructor.name.replace('Command', ''), input: command.input };
        if (refuse(call)) throw new Error('SQS is down');
        sent.push(call);
        return {};
      },
    } as never,
    inboxUrls: [INBOX, REPORTS],
    deadLetterUrl: 'https://sqs.eu-west-1.amazonaws.com/123456789012/aw-test-dead',
    logger: { info: log('info'), warn: log('warn'), error: log('error') } as never,
    clock: { now: () => NOW },
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
  test('a retry past its own is dead: nothing is tried for ever', async () => {
    const past = retryLater('not-yet', { deadline: new Date(NOW.getTime() - 1) });
    const { kept, lines, sent } = await run([record('a')], ends(past));
    expect(kept).toEqual([]);
    expect(sent[0]?.operation).toBe('SendMessage');
    expect(lines[0]?.record).toMatchObject({
      outcome: 'dead',
      reason: 'deadline-passed',
      detail: { retryReason: 'not-yet' },
    });
  });

  test('before it, it is tried', async () => {
    const ahead = retryLater('not-yet', { deadline: new Date(NOW.getTime() + 1) });
    expect((await run([record('a')], ends(ahead))).kept).toEqual(['a']);
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
        const buried = sent.filter(({ operation }) => operation === 'SendMessage');
        expect(buried).toHaveLength(ids('dead', 'no-json').length);
        expect(lines).toHaveLength(fates.length);
      }),
    );
  });
});
