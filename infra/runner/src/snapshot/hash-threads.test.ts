import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashThreads } from './hash-threads.ts';

let folder: string;
let file: string;
const bytes = randomBytes(3_500_000);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-hash-'));
  file = join(folder, 'file');
  writeFileSync(file, bytes);
});
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (start: number, length: number) =>
  createHash('sha256')
    .update(bytes.subarray(start, start + length))
    .digest('hex');

test('each part gets its own checksum, in any order of the threads', async () => {
  const threads = hashThreads(3);
  const parts = [
    [0, bytes.length],
    [0, 0],
    [1, 10],
    [1_000_000, 2_000_000],
    [3_499_999, 1],
  ] as const;
  const found = await Promise.all(parts.map(([start, length]) => threads.hash(file, start, length)));
  expect(found).toEqual(parts.map(([start, length]) => sha256(start, length)));
  await threads.close();
});

test('a file that is too short or missing fails its own call only', async () => {
  const threads = hashThreads(1);
  const [late, missing, good] = await Promise.allSettled([
    threads.hash(file, 0, bytes.length + 1),
    threads.hash(join(folder, 'none'), 0, 1),
    threads.hash(file, 0, 5),
  ]);
  expect(late).toMatchObject({
    status: 'rejected',
    reason: { message: expect.stringContaining('ends before') },
  });
  expect(missing).toMatchObject({
    status: 'rejected',
    reason: { message: expect.stringContaining('ENOENT') },
  });
  expect(good).toEqual({ status: 'fulfilled', value: sha256(0, 5) });
  await threads.close();
});

test('a call that is under way when the threads are closed fails', async () => {
  const threads = hashThreads(1);
  const pending = threads.hash(file, 0, bytes.length);
  const rejected = expect(pending).rejects.toThrow('ended with');
  await threads.close();
  await rejected;
});

test('a thread that ends fails its calls, and later calls get another thread', async () => {
  const dies = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', ({ id, start }) => {
      if (start === 1) process.exit(3);
      parentPort.postMessage({ id, sha256: 'answered' });
    });`;
  const threads = hashThreads(1, dies);
  const lost = await Promise.allSettled([threads.hash(file, 1, 1), threads.hash(file, 1, 1)]);
  for (const { status } of lost) expect(status).toBe('rejected');
  expect(await threads.hash(file, 0, 1)).toBe('answered');
  await threads.close();
});
