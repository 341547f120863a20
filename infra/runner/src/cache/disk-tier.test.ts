import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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

/** What a file of a few bytes takes: a block and an inode. */
const FILE = 4_608;

/** A disk of 100 GiB; the tier takes `limit` bytes of it. */
async function open(limit: number, bootId = 'first boot'): Promise<DiskTier> {
  const statDisk = async () => ({ blocks: 100 * GIB, bavail: free, bsize: 1 });
  const tier = await openDiskTier(folder, limit / (100 * GIB), () => {}, { statDisk, bootId });
  tiers.push(tier);
  return tier;
}

const TEN = Buffer.alloc(10);

test('the file that was not used for the longest time makes room', async () => {
  const tier = await open(3 * FILE);
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
  const tier = await open(FILE - 1);
  expect(await tier.write('cas/a', TEN)).toBe(false);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('the files of an earlier process are there; what was not complete is gone', async () => {
  const before = await open(100 * FILE);
  await before.write('cas/a', TEN);
  await before.create().write(TEN);
  before.close();
  const tier = await open(100 * FILE);
  expect(tier.bytes('cas/a')).toBe(10);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('the files of an earlier boot are gone: after a loss of power their content is not certain', async () => {
  await (await open(100 * FILE)).write('cas/a', TEN);
  const tier = await open(100 * FILE, 'second boot');
  expect(tier.bytes('cas/a')).toBeUndefined();
  expect(readdirSync(folder).sort()).toEqual(['boot', 'tmp']);
  await tier.write('cas/b', TEN);
  expect((await open(100 * FILE, 'second boot')).bytes('cas/b')).toBe(10);
});

test('files that are being written take the place of complete ones, and never more than the limit', async () => {
  const tier = await open(4 * FILE);
  for (const name of ['cas/a', 'cas/b', 'cas/c', 'cas/d']) await tier.write(name, TEN);
  const writing = Array.from({ length: 4 }, () => tier.create());
  for (const file of writing) expect(await file.write(TEN)).toBe(true);
  expect(readdirSync(join(folder, 'cas'))).toEqual([]);
  const fifth = tier.create();
  expect([await fifth.write(TEN), await fifth.write(TEN), await fifth.close()]).toEqual([
    false,
    false,
    false,
  ]);
  expect(await fifth.adopt('cas/e')).toBe(false);
  expect(readdirSync(join(folder, 'tmp'))).toHaveLength(4);
  // A file that is given up makes room at once, also one that its writer holds.
  await writing[0]?.discard();
  const sixth = tier.create();
  expect([await sixth.write(TEN), await sixth.close(), await sixth.adopt('cas/f')]).toEqual([
    true,
    true,
    true,
  ]);
  expect(await writing[0]?.adopt('cas/a')).toBe(false);
  expect(tier.bytes('cas/f')).toBe(10);
});

test('a file that is written again while its place is needed is there or not, as the tier says', async () => {
  const tier = await open(2 * FILE);
  await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      await tier.write(`cas/${n % 5}`, TEN);
    }),
  );
  for (let n = 0; n < 5; n += 1)
    expect(existsSync(tier.path(`cas/${n}`))).toBe(tier.bytes(`cas/${n}`) === 10);
});

test('a disk without room is no failure: the file is refused', async () => {
  const tier = await open(100 * FILE);
  const file = tier.create();
  rmSync(join(folder, 'tmp'), { recursive: true });
  expect([await file.write(TEN), await file.close()]).toEqual([false, false]);
});

test('a folder that is removed has no files any more, and can be used again', async () => {
  const tier = await open(100 * FILE);
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
  const tier = await open(100 * FILE);
  await tier.write('cas/a', TEN);
  const held = tier.create();
  await held.write(TEN);
  free = 4 * GIB;
  vi.advanceTimersByTime(250);
  await vi.waitFor(() => expect(readdirSync(folder)).toEqual(['boot', 'tmp']));
  expect([await held.write(TEN), await held.close()]).toEqual([false, false]);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
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
