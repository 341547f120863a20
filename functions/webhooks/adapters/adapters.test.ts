import { beforeEach, expect, test } from 'vitest';
import { redactText } from '../../../shared/runtime/redact.ts';
import { scalingInbox } from './inbox.ts';
import { signingKeys } from './signing-keys.ts';

let now: number;
let values: Record<string, string | undefined>;
let reads: string[];
let errors: object[];
beforeEach(() => {
  now = Date.parse('2026-11-23T08:00:00Z');
  values = {};
  reads = [];
  errors = [];
});

const tools = {
  clock: { now: () => new Date(now) },
  logger: { error: (_: string, fields = {}) => errors.push(fields) },
};
const client = {
  async send({ input }: { input: { SecretId: string } }) {
    reads.push(input.SecretId);
    return { SecretString: values[input.SecretId] };
  },
} as never;
const keys = (ids: { gha?: string; bk?: string } = { gha: 'gha', bk: 'bk' }) =>
  signingKeys(client, { gha: ids.gha, bk: ids.bk }, tools);

const NEW = 'the new key, long enough';
const OLD = 'the old key, long enough';

test('a secret is one key, or a list of two during a rotation', async () => {
  values = { gha: ` ${NEW}\n`, bk: JSON.stringify([NEW, OLD]) };
  const both = keys();
  expect(await both.of('gha')).toEqual([NEW]);
  expect(await both.of('bk')).toEqual([NEW, OLD]);
  expect(redactText(`x ${OLD} x`)).toBe('x [redacted] x');
});

test.each([
  ['a short key', 'too short'],
  ['three keys', JSON.stringify([NEW, OLD, NEW])],
  ['no keys', '[]'],
  ['a list with a short key', JSON.stringify([NEW, 'short'])],
  ['a broken list', `["${NEW}"`],
])('%s is not usable, and the log names the secret and not the value', async (_, value) => {
  values = { gha: value };
  expect(await keys().of('gha')).toEqual([]);
  expect(errors).toMatchObject([{ secret: 'gha' }]);
  expect(JSON.stringify(errors)).not.toContain(value);
});

test('an empty secret, a placeholder and a provider without a secret have no keys', async () => {
  values = { bk: 'change-me' };
  expect(await keys().of('gha')).toEqual([]);
  expect(await keys().of('bk')).toEqual([]);
  expect(await keys({}).of('gha')).toEqual([]);
});

test('a new value is used after a minute, and a first one after ten seconds; in between nothing is read', async () => {
  const reader = keys();
  for (let count = 0; count < 100; count += 1) await reader.of('gha');
  expect(reads).toEqual(['gha']);
  values = { gha: OLD };
  now += 10_001;
  expect(await reader.of('gha')).toEqual([OLD]);
  values = { gha: NEW };
  for (let count = 0; count < 59; count += 1) {
    now += 1_000;
    expect(await reader.of('gha')).toEqual([OLD]);
  }
  now += 2_000;
  expect(await reader.of('gha')).toEqual([NEW]);
  expect(reads).toHaveLength(3);
});

test('a hint is a message with the time for which it is due', async () => {
  const sent: unknown[] = [];
  const sqs = { send: async ({ input }: { input: unknown }) => sent.push(input) } as never;
  await scalingInbox(sqs, 'https://queue').send({ provider: 'bk' }, new Date(now), 7);
  expect(sent).toEqual([
    {
      QueueUrl: 'https://queue',
      DelaySeconds: 7,
      MessageBody: '{"hint":"Job Queued","about":{"provider":"bk"},"at":"2026-11-23T08:00:00.000Z"}',
    },
  ]);
});
