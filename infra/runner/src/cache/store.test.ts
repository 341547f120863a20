import { afterEach, beforeEach, expect, test } from 'vitest';
import { localS3 } from '../../../../test/support/s3-client.ts';
import { type S3Server, startS3Server } from '../../../../test/support/s3-server.ts';
import { type CacheStore, s3Store } from './store.ts';
import { backgroundUploads } from './uploads.ts';

let server: S3Server;
let store: CacheStore;
let lines: string[];
let now: number;
beforeEach(async () => {
  server = await startS3Server();
  lines = [];
  now = 0;
  const client = localS3(server.url, { maxAttempts: 1 });
  const deadlines = { firstByteMs: 400, nextByteMs: 150 };
  store = s3Store(client, 'b', (line) => lines.push(line), { now: () => now, deadlines });
});
afterEach(() => server.close());

const LONG = Buffer.alloc(300_000, 'x');

async function read(key: string): Promise<Buffer | undefined> {
  const object = await store.get(key);
  if (!object) return undefined;
  const pieces: Buffer[] = [];
  for await (const piece of object.body) pieces.push(piece);
  return Buffer.concat(pieces);
}

const keep = (key: string, body: Buffer, isNew = true) =>
  store.put(key, body, { isNew, signal: new AbortController().signal });

test('what was stored comes back, with its time and its checksum', async () => {
  expect(await keep('a', LONG)).toBe('stored');
  expect(server.objects.get('a')?.sha256).toBeDefined();
  expect((await read('a'))?.equals(LONG)).toBe(true);
  expect(Math.abs(((await store.storedAt('a')) ?? 0) - Date.now())).toBeLessThan(60_000);
});

test('a new object replaces none; an output is stored again', async () => {
  await keep('a', Buffer.from('one'));
  expect(await keep('a', Buffer.from('two'))).toBe('exists');
  expect(await keep('a', Buffer.from('two'), false)).toBe('stored');
  expect((await read('a'))?.toString()).toBe('two');
});

test('a missing object is no failure, however often', async () => {
  for (let count = 0; count < 5; count += 1) expect(await read('a')).toBeUndefined();
  expect(await store.storedAt('a')).toBeUndefined();
  expect(await store.text('a')).toBeNull();
  expect(store.failures()).toBe(0);
  expect(server.calls).toHaveLength(7);
});

test.each([
  ['refuses', { status: 403, code: 'AccessDenied' }],
  ['throttles', { status: 503, code: 'SlowDown' }],
  ['does not answer', { delayMs: 5_000 }],
  ['ends its bodies half-way', { dropAfter: 1_000 }],
  ['stops within its bodies', { stallAfter: 1_000 }],
] as const)('S3 that %s is off after three failures, and costs no more time', async (_, fault) => {
  server.put('a', LONG);
  server.fault = () => fault;
  for (let count = 0; count < 3; count += 1) expect(await read('a').catch(() => undefined)).toBeUndefined();
  expect(store.failures()).toBe(3);
  const calls = server.calls.length;
  for (let count = 0; count < 50; count += 1) expect(await read('a')).toBeUndefined();
  expect(server.calls.length).toBe(calls);
  expect(lines.at(-1)).toBe('S3 (reads) is switched off for 10 s after 3 failures');
  server.fault = undefined;
  now += 10_000;
  expect((await read('a'))?.length).toBe(LONG.length);
  expect(lines.at(-1)).toBe('S3 (reads) answers again');
});

test('uploads that are refused do not cost the reads', async () => {
  server.put('a', LONG);
  server.fault = ({ method }) => (method === 'PUT' ? { status: 403, code: 'AccessDenied' } : undefined);
  for (let count = 0; count < 4; count += 1) await expect(keep('b', LONG)).rejects.toThrow();
  expect(server.calls.filter(({ method }) => method === 'PUT')).toHaveLength(3);
  expect((await read('a'))?.length).toBe(LONG.length);
});

test('an upload that is given up is no failure of S3', async () => {
  server.fault = () => ({ delayMs: 5_000 });
  const stop = new AbortController();
  const putting = store.put('a', LONG, { isNew: true, signal: stop.signal });
  stop.abort();
  await expect(putting).rejects.toThrow();
  expect(store.failures()).toBe(0);
});

test.each([
  ['throttles', { status: 503, code: 'SlowDown' }],
  ['fails', { status: 500, code: 'InternalError' }],
  ['loses its answers', { loseAnswer: true }],
] as const)('an upload can succeed later when S3 %s, and not when it is refused', async (_, fault) => {
  server.fault = () => fault;
  for (let count = 0; count < 3; count += 1)
    await expect(keep('a', LONG, false)).rejects.toMatchObject({ name: 'TryLater', waitMs: undefined });
  await expect(keep('a', LONG, false)).rejects.toMatchObject({ name: 'TryLater', waitMs: 10_000 });
  now += 10_000;
  server.fault = () => ({ status: 403, code: 'AccessDenied' });
  await expect(keep('a', LONG, false)).rejects.toMatchObject({ name: 'AccessDenied' });
});

test('uploads survive a storm of refusals: those that S3 has switched off wait', async () => {
  // Few enough that S3 is not off for longer than an upload waits.
  let refusals = 4;
  server.fault = () => {
    refusals -= 1;
    return refusals >= 0 ? { status: 503, code: 'SlowDown' } : undefined;
  };
  const uploads = backgroundUploads(
    (line) => lines.push(line),
    async (milliseconds) => {
      now += milliseconds;
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
  );
  for (let count = 0; count < 50; count += 1) {
    const run = async (signal: AbortSignal) => {
      await store.put(`storm/${count}`, Buffer.from('x'), { isNew: true, signal });
    };
    uploads.add({ name: String(count), bytes: 1, memory: 1, run });
  }
  await uploads.finish(60_000);
  expect([server.objects.size, uploads.dropped()]).toEqual([50, 0]);
});

test('a body that a client reads slowly is no failure of S3', async () => {
  server.put('a', Buffer.alloc(20 * 2 ** 20));
  const deadlines = { firstByteMs: 20_000, nextByteMs: 1_000 };
  const slow = s3Store(localS3(server.url, { maxAttempts: 1 }), 'b', () => {}, { deadlines });
  const object = await slow.get('a');
  const pieces = object?.body[Symbol.asyncIterator]();
  await pieces?.next();
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  // What S3 does with a connection that is not read.
  await server.close();
  await expect(
    (async () => {
      for (;;) if ((await pieces?.next())?.done) return;
    })(),
  ).rejects.toThrow();
  expect(slow.failures()).toBe(0);
  server = await startS3Server();
});
