import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTime } from '../../processes.ts';
import { isLong, isWorthwhile, lazyHealth } from './lazy-image.ts';
import { type LazyStatus, lazyPaths, writeStatus } from './status.ts';

describe('isLong', () => {
  it.each([
    ['10 GB on 1 GB/s', 10e9, { fetchedBytes: 0.3e9, seconds: 0.3 }, true],
    ['3.3 GB on 1 GB/s: exactly three seconds are left', 3.3e9, { fetchedBytes: 0.3e9, seconds: 0.3 }, false],
    ['3.4 GB on 1 GB/s', 3.4e9, { fetchedBytes: 0.3e9, seconds: 0.3 }, true],
    ['1 GB on 1 GB/s', 1e9, { fetchedBytes: 0.3e9, seconds: 0.3 }, false],
    ['nothing has arrived', 1e6, { fetchedBytes: 0, seconds: 0.3 }, true],
  ])('%s', (_name, bytes, sofar, expected) => {
    expect(isLong(bytes, sofar)).toBe(expected);
  });
});

describe('lazyHealth and isWorthwhile', () => {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hearth-lazy-health-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  async function has(changed: Partial<LazyStatus>) {
    const own = { pid: process.pid, startTime: (await startTime(process.pid)) ?? '' };
    const progress = { frames: 1, ofFrames: 2, fetchedBytes: 100, misses: 0, seconds: 1 };
    await writeStatus(lazyPaths(directory), { process: own, state: 'filling', progress, ...changed });
  }

  it('is none without a lazy start', async () => {
    expect(await lazyHealth(join(directory, 'absent'))).toEqual({ state: 'none' });
    expect(await isWorthwhile(join(directory, 'absent'), 1)).toBe(false);
  });

  it.each(['filling', 'complete'] as const)('is what the process has written: %s', async (state) => {
    await has({ state });
    expect(await lazyHealth(directory)).toEqual({ state });
  });

  it.each(['filling', 'complete'] as const)('is failed when the process has ended: %s', async (state) => {
    // The pid of this process, which started at another time.
    await has({ state, process: { pid: process.pid, startTime: '1' } });
    expect(await lazyHealth(directory)).toMatchObject({ state: 'failed', isBroken: false });
  });

  it('has the reason of a failure, also after the end of the process', async () => {
    const failure = { reason: 'sha256 differs', isBroken: true };
    await has({ state: 'failed', failure, process: { pid: process.pid, startTime: '1' } });
    expect(await lazyHealth(directory)).toEqual({ state: 'failed', ...failure });
  });

  it('decides by the rate so far', async () => {
    await has({});
    expect(await isWorthwhile(directory, 300)).toBe(false);
    expect(await isWorthwhile(directory, 500)).toBe(true);
    await has({ state: 'complete' });
    expect(await isWorthwhile(directory, 500)).toBe(false);
  });

  it('refuses a status that is not one', async () => {
    await writeFile(lazyPaths(directory).status, '{}');
    await expect(lazyHealth(directory)).rejects.toThrow();
  });
});
