import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CacheTool, CLAIM_MS, epochKey, OUTPUT_MS } from '../../../../shared/fleet/build-cache.ts';
import { SMALL_OUTPUT } from './action-record.ts';
import { BuildCache, type CacheAccess, type Content } from './build-cache.ts';
import { type DiskTier, openDiskTier } from './disk-tier.ts';
import { fakeStore } from './testing/fake-store.ts';
import { actionResult, digestOf, tree } from './testing/messages.ts';
import { backgroundUploads } from './uploads.ts';

const DAY = 86_400_000;
const ACTION = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);

let folder: string;
let now: number;
let s3: ReturnType<typeof fakeStore>;
let disks: DiskTier[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-cache-'));
  now = Date.UTC(2026, 0, 1);
  s3 = fakeStore(() => now);
  disks = [];
});
afterEach(() => {
  for (const disk of disks) disk.close();
  rmSync(folder, { recursive: true });
});

let count = 0;

/** The cache of a new instance. */
async function instance(access: Partial<CacheAccess> = {}, share = 0.1) {
  count += 1;
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const statDisk = async () => ({ blocks: 100 * 2 ** 30, bavail: 90 * 2 ** 30, bsize: 1 });
  const disk = await openDiskTier(join(folder, String(count)), share, log, { statDisk });
  disks.push(disk);
  const cache = new BuildCache({
    access: { mode: 'write', scope: 'main', reads: [], perJob: true, ...access },
    disk,
    store: s3.store,
    uploads: backgroundUploads(log),
    log,
    now: () => now,
  });
  await cache.readEpochs();
  return Object.assign(cache, { disk, lines });
}

async function received(disk: DiskTier, content: Buffer) {
  const { sha256, bytes } = digestOf(content);
  if (bytes <= SMALL_OUTPUT) return { bytes, sha256, content };
  const file = disk.create();
  await file.write(content);
  await file.close();
  return { bytes, sha256, file };
}

type Instance = Awaited<ReturnType<typeof instance>>;

/** What Bazel does after an action. */
async function run(cache: Instance, action: string, ...contents: Buffer[]): Promise<Buffer> {
  for (const content of contents)
    await cache.putOutput(digestOf(content).sha256, await received(cache.disk, content));
  const result = actionResult({ files: contents.map(digestOf) });
  await putAction(cache, action, result);
  return result;
}

async function putAction(cache: Instance, action: string, result: Buffer): Promise<void> {
  await cache.putAction(cache.job, action, await received(cache.disk, result));
}

async function putEntry(cache: Instance, tool: CacheTool, key: string, content: Buffer): Promise<void> {
  await cache.putEntry(cache.job, tool, key, await received(cache.disk, content));
}

async function bytes(content: Content | undefined): Promise<Buffer | undefined> {
  if (!content || 'bytes' in content) return content?.bytes;
  if ('file' in content) return readFile(content.file);
  const pieces: Buffer[] = [];
  for await (const piece of content.pieces) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The test runner takes seconds to compare long contents. */
async function digest(content: Content | undefined) {
  const all = await bytes(content);
  return all && digestOf(all);
}

const SMALL = Buffer.from('small output');
const LARGE = randomBytes(SMALL_OUTPUT * 3);
const HUGE = randomBytes(40 * 2 ** 20);

test('what one instance has built, another one gets: one object per action and one per large output', async () => {
  const first = await instance();
  const result = await run(first, ACTION, SMALL, LARGE);
  await first.drain(10_000);
  expect(s3.calls.filter((call) => call.startsWith('PUT'))).toHaveLength(2);

  const second = await instance();
  s3.calls.length = 0;
  expect(await second.action(ACTION)).toEqual(result);
  expect(await bytes(await second.output(digestOf(SMALL).sha256))).toEqual(SMALL);
  expect(await digest(await second.output(digestOf(LARGE).sha256))).toEqual(digestOf(LARGE));
  expect(s3.calls.map((call) => call.split(' ')[0])).toEqual(['GET', 'HEAD', 'GET']);
  s3.calls.length = 0;
  expect(await second.action(ACTION)).toEqual(result);
  expect(await digest(await second.output(digestOf(LARGE).sha256))).toEqual(digestOf(LARGE));
  expect(s3.calls).toEqual([]);
  expect(second.numbers()).toMatchObject({ hits: 2, misses: 0, failures: 0 });
});

test('a large output that is sent while it arrives is whole, and a file afterwards', async () => {
  const first = await instance();
  await run(first, ACTION, HUGE);
  await first.drain(60_000);
  const second = await instance();
  expect(await second.action(ACTION)).toBeDefined();
  const content = await second.output(digestOf(HUGE).sha256);
  expect(content).toHaveProperty('pieces');
  expect(await digest(content)).toEqual(digestOf(HUGE));
  expect(await second.output(digestOf(HUGE).sha256)).toHaveProperty('file');
});

test('a small object with a long content is a file, and not in memory', async () => {
  const first = await instance();
  const zeros = Buffer.alloc(5 * 2 ** 20);
  await run(first, ACTION, zeros);
  await first.drain(10_000);
  expect(s3.objects.get(s3.keys('cas')[0] ?? '')?.body.length).toBeLessThan(10_000);
  const second = await instance();
  const content = await second.output(digestOf(zeros).sha256);
  expect(content).toHaveProperty('file');
  expect(await digest(content)).toEqual(digestOf(zeros));
});

test('requests for the same content at the same time share one', async () => {
  const first = await instance();
  for (const content of [LARGE, SMALL]) await putEntry(first, 'nx', String(content.length), content);
  await first.drain(10_000);
  const second = await instance();
  s3.calls.length = 0;
  for (const content of [LARGE, SMALL]) {
    const found = await Promise.all([1, 2, 3].map(() => second.entry('nx', String(content.length))));
    for (const each of found) expect(await digest(each)).toEqual(digestOf(content));
  }
  expect(s3.calls).toHaveLength(2);
});

test('an object with a changed bit is missing, and an output is replaced by the next instance that has it', async () => {
  const first = await instance();
  await run(first, ACTION, LARGE);
  await first.drain(10_000);
  const [key = ''] = s3.keys('cas');
  const object = s3.objects.get(key);
  object?.body.writeUInt8((object.body.at(-1) ?? 0) ^ 1, object.body.length - 1);

  const second = await instance();
  await second.action(ACTION);
  expect(await second.output(digestOf(LARGE).sha256)).toBeUndefined();
  await run(second, OTHER, LARGE);
  await second.drain(10_000);
  const third = await instance();
  expect(await third.action(OTHER)).toBeDefined();
  expect(await digest(await third.output(digestOf(LARGE).sha256))).toEqual(digestOf(LARGE));
});

test('a huge output with a changed bit does not reach its end', async () => {
  const first = await instance();
  await run(first, ACTION, HUGE);
  await first.drain(60_000);
  const object = s3.objects.get(s3.keys('cas')[0] ?? '');
  object?.body.writeUInt8((object.body.at(-9) ?? 0) ^ 1, object.body.length - 9);
  const second = await instance();
  const content = await second.output(digestOf(HUGE).sha256);
  await expect(bytes(content)).rejects.toThrow();
  expect(
    second.disk.bytes(`cas/${digestOf(HUGE).sha256.slice(0, 2)}/${digestOf(HUGE).sha256}`),
  ).toBeUndefined();
});

test('an action whose object has a changed bit is missing', async () => {
  const first = await instance();
  await run(first, ACTION, SMALL);
  await first.drain(10_000);
  const object = s3.objects.get(s3.keys('act')[0] ?? '');
  object?.body.writeUInt8((object.body.at(50) ?? 0) ^ 1, 50);
  const second = await instance();
  expect(await second.action(ACTION)).toBeUndefined();
  expect(second.numbers()).toMatchObject({ hits: 0, misses: 1 });
});

test('a claim of a job is a miss for the next job of the instance; an output that proves itself is not', async () => {
  const cache = await instance({ mode: 'read' });
  const result = await run(cache, ACTION, SMALL);
  await putEntry(cache, 'ccache', 'ab/cdef', SMALL);
  expect(await cache.action(ACTION)).toEqual(result);
  expect(await bytes(await cache.entry('ccache', 'ab/cdef'))).toEqual(SMALL);
  cache.turnover();
  expect(await cache.action(ACTION)).toBeUndefined();
  expect(await cache.entry('ccache', 'ab/cdef')).toBeUndefined();
  expect(await bytes(await cache.output(digestOf(SMALL).sha256))).toEqual(SMALL);
});

test('a PUT that began before the turnover makes no claim for the next job', async () => {
  const cache = await instance({ mode: 'read' });
  await cache.putOutput(digestOf(SMALL).sha256, await received(cache.disk, SMALL));
  const putting = putAction(cache, ACTION, actionResult({ files: [digestOf(SMALL)] }));
  cache.turnover();
  await putting;
  expect(await cache.action(ACTION)).toBeUndefined();
});

test('jobs that share their instance find the claims of earlier ones', async () => {
  const cache = await instance({ mode: 'read', perJob: false });
  const result = await run(cache, ACTION, SMALL);
  cache.turnover();
  expect(await cache.action(ACTION)).toEqual(result);
});

test('a group that only reads stores nothing, and its jobs change nothing for others', async () => {
  const writer = await instance();
  const result = await run(writer, ACTION, SMALL);
  await writer.drain(10_000);
  const before = new Map(s3.objects);
  const reader = await instance({ mode: 'read' });
  await run(reader, ACTION, Buffer.from('poison'));
  await putEntry(reader, 'gradle', 'key', Buffer.from('poison'));
  await reader.drain(10_000);
  expect(s3.objects).toEqual(before);
  expect(s3.calls.filter((call) => call.startsWith('PUT'))).toHaveLength(1);
  const next = await instance({ mode: 'read' });
  expect(await next.action(ACTION)).toEqual(result);
});

test('an action that exists in S3 is not replaced', async () => {
  const first = await instance();
  const result = await run(first, ACTION, SMALL);
  await first.drain(10_000);
  const second = await instance();
  await run(second, ACTION, Buffer.from('something else'));
  await second.drain(10_000);
  expect(await (await instance()).action(ACTION)).toEqual(result);
});

test('a group reads its own scope first, then the others, and writes its own only', async () => {
  const main = await instance({ scope: 'main' });
  const result = await run(main, ACTION, SMALL, LARGE);
  await main.drain(10_000);
  const pulls = await instance({ scope: 'pulls', reads: ['main'] });
  expect(await pulls.action(ACTION)).toEqual(result);
  expect(await digest(await pulls.output(digestOf(LARGE).sha256))).toEqual(digestOf(LARGE));
  await run(pulls, OTHER, LARGE);
  await pulls.drain(10_000);
  expect(s3.keys('act').filter((key) => key.startsWith('cache/main/'))).toHaveLength(1);
  // The action of the scope must not depend on what another scope stores.
  expect(
    s3
      .keys('cas')
      .map((key) => key.split('/')[1])
      .sort(),
  ).toEqual(['main', 'pulls']);
  expect(await (await instance({ scope: 'main' })).action(OTHER)).toBeUndefined();
});

test('an action is a miss without one of its large outputs, until the output is there', async () => {
  const first = await instance();
  const result = await run(first, ACTION, SMALL, LARGE);
  await first.drain(10_000);
  const [key = ''] = s3.keys('cas');
  const object = s3.objects.get(key);
  s3.objects.delete(key);
  expect(await (await instance()).action(ACTION)).toBeUndefined();
  const third = await instance();
  await third.putOutput(digestOf(LARGE).sha256, await received(third.disk, LARGE));
  expect(await third.action(ACTION)).toEqual(result);
  if (object) s3.objects.set(key, object);
  expect(await (await instance()).action(ACTION)).toEqual(result);
});

test('the files within an output directory are outputs of the action', async () => {
  const first = await instance();
  const inside = tree([digestOf(SMALL), digestOf(LARGE)]);
  for (const content of [SMALL, LARGE, inside])
    await first.putOutput(digestOf(content).sha256, await received(first.disk, content));
  const result = actionResult({ trees: [digestOf(inside)] });
  await putAction(first, ACTION, result);
  await first.drain(10_000);
  const second = await instance();
  expect(await second.action(ACTION)).toEqual(result);
  for (const content of [SMALL, LARGE, inside])
    expect(await digest(await second.output(digestOf(content).sha256))).toEqual(digestOf(content));
});

test('an action whose outputs were not sent is not stored', async () => {
  const cache = await instance();
  await putAction(cache, ACTION, actionResult({ files: [digestOf('never sent')] }));
  await putAction(cache, OTHER, actionResult({ trees: [digestOf('never sent')] }));
  await cache.drain(10_000);
  expect([...s3.objects.keys()]).toEqual([]);
  expect(await cache.action(ACTION)).toBeUndefined();
  expect(cache.numbers().dropped).toBe(2);
});

test('content that has another digest is refused', async () => {
  const cache = await instance();
  await expect(cache.putOutput(digestOf('x').sha256, await received(cache.disk, SMALL))).rejects.toThrow(
    'digest',
  );
  expect(await cache.output(digestOf('x').sha256)).toBeUndefined();
});

test('a claim whose file on the disk is broken is fetched again', async () => {
  const first = await instance();
  const result = await run(first, ACTION, SMALL);
  await first.drain(10_000);
  const second = await instance({ mode: 'read' });
  await second.action(ACTION);
  const file = second.disk.path(`act/main/0/${ACTION.slice(0, 2)}/${ACTION}`);
  await truncate(file, 10);
  expect(await second.action(ACTION)).toEqual(result);
  expect(second.lines.join()).toContain('is not used');
});

test('of many outputs the first one that is missing is enough', async () => {
  const cache = await instance();
  const files = Array.from({ length: 500 }, (_, n) => ({ ...digestOf(String(n)), bytes: SMALL_OUTPUT + 1 }));
  await putAction(cache, ACTION, actionResult({ files }));
  expect(await cache.action(ACTION)).toBeUndefined();
  await cache.drain(10_000);
  expect(s3.calls.filter((call) => call.startsWith('HEAD')).length).toBeLessThanOrEqual(36);
});

test('a drain ends in time, also while a large output is compressed', async () => {
  const cache = await instance();
  await run(cache, ACTION, HUGE);
  const began = performance.now();
  await cache.drain(30);
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(cache.numbers().dropped).toBe(1);
  expect([...s3.objects.keys()]).toEqual([]);
});

test('without S3 a build has misses, and its results are dropped and counted', async () => {
  const cache = await instance();
  s3.setDown(true);
  expect(await cache.action(ACTION)).toBeUndefined();
  const result = await run(cache, ACTION, SMALL);
  await cache.drain(10_000);
  expect(await cache.action(ACTION)).toEqual(result);
  expect(cache.numbers()).toMatchObject({ hits: 1, misses: 1, dropped: 1 });
  expect(cache.numbers().failures).toBeGreaterThan(0);
});

test('a scope whose epoch is raised has nothing of before, on no instance', async () => {
  const cache = await instance();
  await run(cache, ACTION, SMALL);
  await cache.drain(10_000);
  const reader = await instance({ mode: 'read' });
  expect(await reader.action(ACTION)).toBeDefined();
  s3.objects.set(epochKey('main'), { body: Buffer.from('{"version":1,"epoch":1}'), storedAt: now });
  await reader.readEpochs();
  expect(await reader.action(ACTION)).toBeUndefined();
});

test('a scope whose epoch cannot be read is not used; one that was read keeps it', async () => {
  const first = await instance();
  await run(first, ACTION, SMALL);
  await first.drain(10_000);
  s3.setDown(true);
  const blind = await instance();
  await first.readEpochs();
  s3.setDown(false);
  expect(await blind.action(ACTION)).toBeUndefined();
  expect(await (await instance()).action(ACTION)).toBeDefined();
  expect(first.lines.join()).toContain('cannot be read');
});

test('entries of a tool have the key of that tool alone', async () => {
  const first = await instance();
  await putEntry(first, 'ccache', 'ac/1', SMALL);
  await putEntry(first, 'sccache', 'ac/1', LARGE);
  await first.drain(10_000);
  const second = await instance();
  expect(await bytes(await second.entry('ccache', 'ac/1'))).toEqual(SMALL);
  expect(await digest(await second.entry('sccache', 'ac/1'))).toEqual(digestOf(LARGE));
  expect(await second.entry('gradle', 'ac/1')).toBeUndefined();
  expect(second.numbers()).toMatchObject({ hits: 2, misses: 1 });
});

test('over 60 days no action outlives an output of it, whenever it is built and read', async () => {
  // Hours between two builds, and which output each has. S3 removes an object at some time after its lifetime.
  const history = fc.array(
    fc.record({ hours: fc.integer({ min: 1, max: 400 }), output: fc.nat({ max: 2 }) }),
    {
      minLength: 4,
      maxLength: 12,
    },
  );
  const outputs = [0, 1, 2].map((number) => Buffer.concat([LARGE, Buffer.from([number])]));
  await fc.assert(
    fc.asyncProperty(history, async (builds) => {
      s3.objects.clear();
      const began = now;
      for (const [index, { hours, output }] of builds.entries()) {
        now += hours * 3_600_000;
        if (now - began > 60 * DAY) break;
        // An output is gone as early as a rule allows; an action stays as long as it can be read.
        for (const [key, { storedAt }] of s3.objects)
          if (key.includes('/cas/') && now - storedAt > OUTPUT_MS) s3.objects.delete(key);
        const builder = await instance();
        await run(builder, index.toString(16).padStart(64, '0'), outputs[output] ?? LARGE);
        await builder.drain(10_000);
        const reader = await instance({ mode: 'read' });
        for (let each = 0; each <= index; each += 1) {
          const stored = s3.objects.get(
            [...s3.objects.keys()].find((key) => key.endsWith(each.toString(16).padStart(64, '0'))) ?? '',
          );
          const isLive = stored !== undefined && now - stored.storedAt <= CLAIM_MS;
          const found = await reader.action(each.toString(16).padStart(64, '0'));
          expect(found !== undefined).toBe(isLive);
          if (found)
            expect(
              await reader.output(digestOf(outputs[builds[each]?.output ?? 0] ?? LARGE).sha256),
            ).toBeDefined();
        }
      }
    }),
    { numRuns: 10 },
  );
}, 60_000);
