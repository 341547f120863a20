import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { type JobChain, openJobChain } from '../support/job-chain.ts';
import { whyMissing } from '../support/packages.ts';
import { seeded } from '../support/random.ts';

const missing = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  'mkfs.ext4': 'e2fsprogs',
  setpriv: 'util-linux',
});
if (missing !== undefined) console.warn(`tests of kills during a turnover are skipped: ${missing}`);

const KILLS = Number(process.env.HEARTH_KILLS ?? 50);
const FOLDER = `/var/tmp/hearth-turnover-${process.pid}`;
const chance = seeded();

describe.skipIf(missing !== undefined)('a chain of clean jobs that is killed', () => {
  let chain: JobChain;

  beforeAll(async () => {
    chain = await openJobChain(FOLDER);
  });
  afterAll(() => chain?.close());

  /** Fails if an earlier job has left a file or a process; leaves files wherever it can, and a process that nobody finds. */
  const job = () => {
    const places = ['/tmp', '/opt', '/dev/shm', '/var/log', '"$PWD"', '"$HOME"', chain.warm];
    const marks = places.map((place) => `${place}/left-by-a-job`).join(' ');
    const command = `for each in ${marks}; do if [ -e "$each" ]; then echo "found $each"; exit 1; fi; done
if ps -e -o args= | grep -q '[s]leep 98765'; then echo 'found a process'; exit 1; fi
touch ${marks}; env -i setsid sleep 98765 >/dev/null 2>&1 </dev/null & until ps -e -o args= | grep '[s]leep 98765'; do sleep 0.1; done`;
    return chain.github.queueJob({ command, labels: ['x'], name: 'build' });
  };

  test(`${KILLS} times at random moments of turnover: each job runs once on a clean place, and nothing is left (HEARTH_SEED=${chance.seed})`, {
    timeout: 3_600_000,
  }, async () => {
    expect(await chain.left()).toEqual([]);
    const jobs: ReturnType<typeof job>[] = [];
    const ended = () => jobs.filter(({ state }) => state === 'finished').length;
    /** Waits for the end of one more job, while others are queued. */
    const oneMore = async () => {
      const before = ended();
      while (jobs.length < before + 3) jobs.push(job());
      await waitFor('the end of a job', () => ended() > before, {
        seconds: 300,
        state: () => [chain.output(), jobs.filter(({ state }) => state !== 'finished')],
      });
    };
    await chain.start();
    await oneMore();
    const began = performance.now();
    await oneMore();
    // From the end of a job to the end of the next one.
    const turnoverMs = performance.now() - began;
    for (let count = 0; count < KILLS; count += 1) {
      await oneMore();
      await sleep(chance.next() * turnoverMs);
      await chain.end('SIGKILL');
      await chain.start();
    }
    await waitFor('all jobs to end', () => jobs.every(({ state }) => state === 'finished'), {
      seconds: 900,
      state: () => [chain.output(), jobs.filter(({ state }) => state !== 'finished')],
    });
    expect(jobs.length).toBeGreaterThan(KILLS);
    expect(
      jobs.map(({ result, starts, log }) => ({ result, starts, log: /found .*/.exec(log)?.[0] })),
    ).toEqual(jobs.map(() => ({ result: 'succeeded', starts: 1, log: undefined })));
    expect(await chain.end('SIGTERM')).toBe(0);
    // The kernel removes loop devices and ends processes a moment later.
    await expect.poll(() => chain.left(), { timeout: 200_000, interval: 200 }).toEqual([]);
  });
});
