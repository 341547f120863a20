import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type DiskTier, openDiskTier } from './disk-tier.ts';

const GIB = 2 ** 30;
let folder: string;
let free: number;
let tiers: DiskTier[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-cache-disk-'));
  free = 50 * GIB;
  tiers = [];
});
afterEach(() => {
  for (const tier of tiers) tier.close();
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

/** A disk of 100 GiB; the tier takes `limit` bytes of it. */
async function open(limit: number): Promise<DiskTier> {
  const disk = async () => ({ blocks: 100 * GIB, bavail: free, bsize: 1 });
  const tier = await openDiskTier(folder, limit / (100 * GIB), () => {}, disk);
  tiers.push(tier);
  return tier;
}

const TEN = Buffer.alloc(10);

test('the file that was not used for the longest time makes room', async () => {
  const tier = await open(30);
  for (const name of ['cas/a', 'cas/b', 'cas/c']) await tier.write(name, TEN);
  expect(tier.bytes('cas/a')).toBe(10);
  await tier.write('cas/d', TEN);
  expect(['cas/a', 'cas/b', 'cas/c', 'cas/d'].map((name) => tier.bytes(name))).toEqual([
    10,
    undefined,
    10,
    10,
  ]);
  await vi.waitFor(() => expect(readdirSync(join(folder, 'cas')).sort()).toEqual(['a', 'c', 'd']));
});

test('a file that is larger than the tier is not taken, and nothing of it stays', async () => {
  const tier = await open(5);
  expect(await tier.write('cas/a', TEN)).toBe(false);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('the files of an earlier process are there; what was not complete is gone', async () => {
  mkdirSync(join(folder, 'cas'), { recursive: true });
  mkdirSync(join(folder, 'tmp'));
  writeFileSync(join(folder, 'cas/a'), TEN);
  writeFileSync(join(folder, 'tmp/1'), TEN);
  const tier = await open(100);
  expect(tier.bytes('cas/a')).toBe(10);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('a folder that is removed has no files any more, and can be used again', async () => {
  const tier = await open(100);
  await tier.write('job-1/act/a', TEN);
  await tier.write('job-11/act/a', TEN);
  await tier.removeFolder('job-1');
  expect(tier.bytes('job-1/act/a')).toBeUndefined();
  expect(tier.bytes('job-11/act/a')).toBe(10);
  await tier.write('job-1/act/b', TEN);
  expect(readFileSync(tier.path('job-1/act/b'))).toEqual(TEN);
});

test('on a disk that is nearly full nothing is kept, until there is room again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const tier = await open(100);
  await tier.write('cas/a', TEN);
  free = 4 * GIB;
  vi.advanceTimersByTime(250);
  await vi.waitFor(() => expect(readdirSync(folder)).toEqual(['tmp']));
  expect([tier.isOff(), tier.bytes('cas/a'), await tier.write('cas/a', TEN)]).toEqual([
    true,
    undefined,
    false,
  ]);
  free = 11 * GIB;
  vi.advanceTimersByTime(250);
  await vi.waitFor(() => expect(tier.isOff()).toBe(false));
  expect(await tier.write('cas/a', TEN)).toBe(true);
});
