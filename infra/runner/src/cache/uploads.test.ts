import { beforeEach, expect, test, vi } from 'vitest';
import { backgroundUploads, TryLater, type Upload, type Uploads } from './uploads.ts';

/** A busy computer is slow. */
const soon = (check: () => void) => vi.waitFor(check, { timeout: 20_000 });

let lines: string[];
let waits: number[];
let uploads: Uploads;
beforeEach(() => {
  lines = [];
  waits = [];
  uploads = backgroundUploads(
    (line) => lines.push(line),
    async (milliseconds) => void waits.push(milliseconds),
  );
});

let tries: number;
const upload = (change: Partial<Upload> = {}): Upload => ({
  name: 'a',
  bytes: 1,
  memory: 1,
  run: async () => {},
  ...change,
});

/** One that fails some times, and then succeeds. */
const failing = (count: number, waitMs?: number): Upload => {
  tries = 0;
  return upload({
    run: async () => {
      tries += 1;
      if (tries <= count) throw new TryLater('SlowDown', waitMs === undefined ? {} : { waitMs });
    },
  });
};

test('an upload that S3 throttles is tried three times, with a longer wait each time', async () => {
  uploads.add(failing(2));
  await uploads.finish(1_000);
  expect([tries, uploads.dropped(), waits.length]).toEqual([3, 0, 2]);
  expect(waits[0]).toBeGreaterThanOrEqual(500);
  expect(waits[1]).toBeGreaterThanOrEqual(1_000);
  uploads.add(failing(3));
  await uploads.finish(1_000);
  expect([tries, uploads.dropped()]).toEqual([3, 1]);
  expect(lines).toEqual([expect.stringContaining('SlowDown')]);
});

test('while S3 is switched off an upload waits, which is no try; one that would wait for long is dropped', async () => {
  uploads.add(failing(5, 10_000));
  await uploads.finish(1_000);
  expect([tries, uploads.dropped(), waits]).toEqual([6, 0, [10_000, 10_000, 10_000, 10_000, 10_000]]);
  uploads.add(failing(1, 40_000));
  await uploads.finish(1_000);
  expect(uploads.dropped()).toBe(1);
});

test('an upload that is refused is not tried again', async () => {
  let count = 0;
  const run = async () => {
    count += 1;
    throw new Error('AccessDenied');
  };
  uploads.add(upload({ run }));
  await uploads.finish(1_000);
  expect([count, uploads.dropped()]).toEqual([1, 1]);
});

test('a wait ends with the time limit', async () => {
  const patient = backgroundUploads((line) => lines.push(line));
  patient.add(upload({ run: async () => Promise.reject(new TryLater('off', { waitMs: 30_000 })) }));
  await patient.finish(10);
  expect(patient.dropped()).toBe(1);
  expect(lines).toEqual(['uploads are dropped: a: no time is left']);
});

test.each([
  ['bytes', { bytes: 5 * 2 ** 30 }],
  ['memory', { memory: 20 * 2 ** 20 }],
])('%s of waiting uploads are bounded, and there is room again when they have ended', async (_, size) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  uploads.add(upload({ ...size, run: () => promise }));
  uploads.add(upload({ ...size }));
  // A size that a job has made up changes nothing for the next one.
  uploads.add(upload({ bytes: Number.MAX_VALUE }));
  expect(uploads.dropped()).toBe(2);
  resolve();
  await soon(() => expect(uploads.waiting()).toBe(0));
  uploads.add(upload(size));
  await uploads.finish(1_000);
  expect(uploads.dropped()).toBe(2);
});

test('what waits at the end of the time is dropped, and what was added later is not', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (let count = 0; count < 20; count += 1) uploads.add(upload({ run: () => promise }));
  uploads.limit(1);
  let isStored = false;
  uploads.add(
    upload({
      run: async () => {
        isStored = true;
      },
    }),
  );
  await soon(() => expect(uploads.dropped()).toBe(4));
  resolve();
  await uploads.finish(1_000);
  expect([uploads.dropped(), isStored]).toEqual([4, true]);
});
