import type { S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localS3 } from '../../test/support/s3-client.ts';
import { type S3Server, startS3Server } from '../../test/support/s3-server.ts';
import { CorruptRecord } from './errors.ts';
import { type ObjectStore, s3Store } from './store.ts';
import { memoryStore } from './testing/memory-store.ts';

let server: S3Server;
let client: S3Client;
beforeAll(async () => {
  server = await startS3Server();
  client = localS3(server.url, { maxAttempts: 1 });
});
afterAll(async () => {
  client.destroy();
  await server.close();
});

const collect = async (store: ObjectStore, prefix: string) => {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
};

// The tests of the functions rely on the one in memory: it has to behave as S3 does.
describe.each<[string, () => ObjectStore]>([
  ['S3', () => s3Store(client, 'b')],
  ['memory', () => memoryStore()],
])('a bucket in %s', (kind, open) => {
  const key = (name: string) => `${kind}/${name}`;

  test('is written only under a condition, and read with its version', async () => {
    const store = open();
    expect(await store.read(key('a'))).toBeUndefined();
    const first = await store.write(key('a'), { n: 1 }, { ifNoneMatch: true });
    expect(first).toBeDefined();
    expect(await store.write(key('a'), { n: 2 }, { ifNoneMatch: true })).toBeUndefined();
    const read = await store.read(key('a'));
    expect(JSON.parse(read?.text ?? '')).toEqual({ n: 1 });
    expect(read?.etag).toBe(first);
    expect(await store.write(key('a'), { n: 3 }, { ifMatch: read?.etag ?? '' })).toBeDefined();
    expect(await store.write(key('a'), { n: 4 }, { ifMatch: read?.etag ?? '' })).toBeUndefined();
  });

  test('an object above the limit is refused, and the bucket stays usable', async () => {
    const store = open();
    await store.write(key('long'), 'x'.repeat(5_000_000), { ifNoneMatch: true });
    await expect(store.read(key('long'))).rejects.toThrow(CorruptRecord);
    await expect(store.read(key('long'), 100)).rejects.toThrow(/more than 100/);
    expect((await store.read(key('long'), 6_000_000))?.text.length).toBeGreaterThan(5_000_000);
  });

  test('a version to be replaced that is gone is a lost write, not an error', async () => {
    expect(await open().write(key('never'), {}, { ifMatch: '"x"' })).toBeUndefined();
  });

  test('removes one version, or any', async () => {
    const store = open();
    const etag = (await store.write(key('r'), {}, { ifNoneMatch: true })) ?? '';
    expect(await store.remove(key('r'), '"other"')).toBe(false);
    expect(await store.remove(key('r'), etag)).toBe(true);
    expect(await store.read(key('r'))).toBeUndefined();
    expect(await store.remove(key('r'))).toBe(true);
  });

  test('returns sizes and ranges, and undefined for a missing object', async () => {
    const store = open();
    await store.write(key('s'), 'abcdef', { ifNoneMatch: true });
    const { text = '' } = (await store.read(key('s'))) ?? {};
    expect((await store.head(key('s')))?.bytes).toBe(text.length);
    expect(Buffer.from(await store.readRange(key('s'), 1, 3)).toString()).toBe('abc');
    expect(await store.head(key('t'))).toBeUndefined();
    await expect(store.readRange(key('t'), 0, 1)).rejects.toThrow();
  });
});

test('a listing has every page of it, in order', async () => {
  for (let index = 0; index < 2_500; index += 1) server.put(`many/${String(index).padStart(5, '0')}`, '');
  const keys = await collect(s3Store(client, 'b'), 'many/');
  expect(keys).toHaveLength(2_500);
  expect(keys).toEqual([...keys].sort());
});

test.each([
  [403, 'AccessDenied'],
  [503, 'SlowDown'],
  [500, 'InternalError'],
])('%i is an error, never an empty answer', async (status, code) => {
  const store = s3Store(client, 'b');
  server.fault = () => ({ status, code });
  try {
    await expect(store.read('x')).rejects.toThrow(code);
    await expect(store.write('x', {}, { ifMatch: '"1"' })).rejects.toThrow(code);
    await expect(store.remove('x')).rejects.toThrow(code);
    await expect(collect(store, '')).rejects.toThrow(code);
  } finally {
    server.fault = undefined;
  }
});

test('409 is retried some times, and then thrown as retryable', async () => {
  const store = s3Store(client, 'b');
  let conflicts = 2;
  server.fault = ({ method }) =>
    method === 'PUT' && conflicts-- > 0 ? { status: 409, code: 'ConditionalRequestConflict' } : undefined;
  try {
    expect(await store.write('contended', {}, { ifNoneMatch: true })).toBeDefined();
    conflicts = 100;
    await expect(store.write('always', {}, { ifNoneMatch: true })).rejects.toMatchObject({
      name: 'RetryableError',
      reason: 'object-contended',
    });
  } finally {
    server.fault = undefined;
  }
});

test('412 is a success if the stored object has the body of the write', async () => {
  const store = s3Store(client, 'b');
  const first = await store.write('lost-answer', { a: 1 }, { ifNoneMatch: true });
  // The second attempt of the SDK: the same body under the same condition.
  expect(await store.write('lost-answer', { a: 1 }, { ifNoneMatch: true })).toBe(first);
  expect(await store.write('lost-answer', { a: 2 }, { ifNoneMatch: true })).toBeUndefined();
  const second = await store.write('lost-answer', { a: 3 }, { ifMatch: first ?? '' });
  expect(await store.write('lost-answer', { a: 3 }, { ifMatch: first ?? '' })).toBe(second);
});

test('a write whose answer is lost is a success, although the retry of the SDK gets 412', async () => {
  const retrying = localS3(server.url, { maxAttempts: 3 });
  const store = s3Store(retrying, 'b');
  let lost = 0;
  server.fault = ({ method }) => {
    if (method !== 'PUT' || lost > 0) return undefined;
    lost += 1;
    return { loseAnswer: true };
  };
  try {
    const etag = await store.write('committed', { a: 1 }, { ifNoneMatch: true });
    expect(lost).toBe(1);
    expect(etag).toBeDefined();
    expect(await store.read('committed')).toMatchObject({ etag });
  } finally {
    server.fault = undefined;
    retrying.destroy();
  }
});
