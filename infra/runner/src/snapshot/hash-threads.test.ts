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

test('each part has its own, whoever takes it and in whatever order they are done', async () => {
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

test('a file that ends before, or is not there, is an error for whoever asked and for nobody else', async () => {
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

test('who still waits when the threads are closed is told', async () => {
  const threads = hashThreads(1);
  const waiting = threads.hash(file, 0, bytes.length);
  const told = expect(waiting).rejects.toThrow('ended with');
  await threads.close();
  await told;
});
