import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hasInbox, readFunctionSpecs } from './function-spec.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'hearth-specs-'));
});
afterEach(() => rm(root, { recursive: true }));

async function read(spec: object) {
  const folder = join(root, 'functions/one');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'function.json'), JSON.stringify(spec));
  const [found] = await readFunctionSpecs(root);
  return found;
}

const common = { description: 'One.', memoryMb: 256, timeoutSeconds: 20, environment: ['NAME_PREFIX'] };
const url = { kind: 'url', name: 'requests', auth: 'iam' };
const events = { kind: 'events', name: 'e', pattern: { source: ['aws.ec2'] } };
const queueKeys = { concurrency: 2, batchSize: 10, receiveLimit: 100 };

test('a function that only answers requests has no queue', async () => {
  const spec = await read({ ...common, reservedConcurrency: 10, subscriptions: [url] });
  expect(spec).toMatchObject({ name: 'one', reservedConcurrency: 10 });
  expect(spec && hasInbox(spec)).toBe(false);
});

test('a function with both kinds has both kinds of keys', async () => {
  const spec = await read({ ...common, ...queueKeys, reservedConcurrency: 10, subscriptions: [url, events] });
  expect(spec && hasInbox(spec)).toBe(true);
});

test('a function without a URL may reserve concurrency', async () => {
  const spec = await read({ ...common, ...queueKeys, reservedConcurrency: 1, subscriptions: [events] });
  expect(spec).toMatchObject({ reservedConcurrency: 1 });
});

test.each([
  ['an inbox without a batch size', { ...common, concurrency: 2, receiveLimit: 9, subscriptions: [events] }],
  ['queue keys without an inbox', { ...common, ...queueKeys, reservedConcurrency: 1, subscriptions: [url] }],
  [
    'a visibility timeout without an inbox',
    { ...common, visibilitySeconds: 9, reservedConcurrency: 1, subscriptions: [url] },
  ],
  ['a URL without a limit of its callers', { ...common, subscriptions: [url] }],
  ['two URLs', { ...common, reservedConcurrency: 1, subscriptions: [url, { ...url, name: 'two' }] }],
  [
    'a URL of unknown authorization',
    { ...common, reservedConcurrency: 1, subscriptions: [{ ...url, auth: 'key' }] },
  ],
  ['no subscription', { ...common, subscriptions: [] }],
])('%s is refused with the name of the file', async (_, spec) => {
  await expect(read(spec)).rejects.toThrow('functions/one/function.json: ');
});
