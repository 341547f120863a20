import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { queueUrl, sqsRecord } from '../../test/support/sqs.ts';
import { defineFunction } from './define-function.ts';
import { text } from './env.ts';
import { done, type Outcome, retryLater } from './outcome.ts';

beforeEach(() => {
  vi.stubEnv('INBOX_URL', queueUrl('aw-test-inbox'));
  vi.stubEnv('DEAD_LETTER_URL', queueUrl('aw-test-dead'));
  vi.stubEnv('NAME_PREFIX', 'aw');
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9');
  vi.stubEnv('POWERTOOLS_LOG_LEVEL', 'SILENT');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const context = (leftMs: number) => ({ getRemainingTimeInMillis: () => leftMs });

function functionThat(handle: () => Promise<Outcome>) {
  let connections = 0;
  const handler = defineFunction({
    name: 'test',
    env: { NAME_PREFIX: text },
    retryFor: (_message, { hours }: { hours: number }) => hours * 3_600_000,
    connect: () => {
      connections += 1;
      return { hours: 1 };
    },
    handle,
  });
  return { handler, connections: () => connections };
}

test('clients are created at the first event and kept', async () => {
  const { handler, connections } = functionThat(async () => done());
  expect(connections()).toBe(0);
  await handler({ Records: [sqsRecord('{}')] }, context(60_000));
  await handler({ Records: [sqsRecord('{}')] }, context(60_000));
  expect(connections()).toBe(1);
});

test('a record that hangs stays in the inbox before the invocation runs out of time', async () => {
  const { handler } = functionThat(() => new Promise(() => {}));
  const began = performance.now();
  const answer = await handler({ Records: [sqsRecord('{}', { sentAt: new Date() })] }, context(2_100));
  expect(answer.batchItemFailures).toEqual([{ itemIdentifier: 'm-1' }]);
  expect(performance.now() - began).toBeLessThan(2_000);
});

test('a wrong environment fails the batch, which stays in the inbox', async () => {
  vi.stubEnv('NAME_PREFIX', '');
  const { handler } = functionThat(async () => retryLater('x'));
  await expect(handler({ Records: [sqsRecord('{}')] }, context(60_000))).rejects.toThrow('NAME_PREFIX');
});
