import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { noCache } from './cache/job-cache.ts';
import { newState, type RunnerState, stateFile } from './state.ts';
import { fakeInstance, INSTANCE, type InstanceSettings } from './testing/fake-instance.ts';
import { watch } from './watch.ts';

// Vitest's fake timers do not replace this module.
vi.mock('node:timers/promises', () => ({
  setTimeout: (milliseconds: number, value: unknown, options: { signal?: AbortSignal } = {}) =>
    new Promise((resolve, reject) => {
      if (options.signal?.aborted) reject(options.signal.reason);
      const timer = setTimeout(() => resolve(value), milliseconds);
      options.signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(options.signal?.reason);
      });
    }),
}));

let directory: string;
let stop: AbortController;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-watch-'));
  stop = new AbortController();
  vi.useFakeTimers();
});
afterEach(() => {
  stop.abort();
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

const never = () => new Promise<never>(() => {});
const ready: RunnerState = { ...newState(INSTANCE, 0), phase: 'ready' };
const busy = { state: 'busy', job: '17' } as const;
const healthy = { problem: async () => undefined };

async function watching(settings: Partial<InstanceSettings>, state: Partial<RunnerState> = {}) {
  const one = fakeInstance({
    directory,
    health: healthy,
    config: { pollSeconds: 5, heartbeatSeconds: 60 },
    ...settings,
  });
  await one.states.write({ ...ready, ...state });
  const runner = one.restart();
  void watch(runner, stop.signal);
  await vi.advanceTimersByTimeAsync(100);
  return one;
}
const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1000);

describe('a drain', () => {
  const drain = { target: async () => 'Terminated', status: async () => busy };

  test.each<[string, Partial<InstanceSettings>]>([
    ['status', { status: never }],
    ['stop of intake', { stopIntake: never }],
    ['metadata', { target: never }],
    ['health', { health: { problem: never } }],
  ])('a %s that never answers stops no heartbeat and is asked again', async (_, settings) => {
    const one = await watching({ ...drain, ...settings }, { phase: 'draining', since: Date.now() });
    await seconds(600);
    expect(one.heartbeats.length).toBeGreaterThanOrEqual(10);
    expect(one.happened.filter((what) => what === 'intake stops').length).toBeGreaterThan(20);
    expect(one.lines.filter((line) => line.includes('did not answer within 5 s'))).toHaveLength(1);
  });

  test('begins with the stop of the intake and the heartbeat, although the disk takes no state', async () => {
    const one = await watching(drain);
    const full = fakeInstance({ directory, health: healthy, ...drain, config: { pollSeconds: 5 } });
    await full.states.write(ready);
    const runner = full.restart();
    runner.states.update = () =>
      Promise.reject(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
    void watch(runner, stop.signal);
    await seconds(200);
    expect(full.happened.filter((what) => what === 'intake stops').length).toBeGreaterThan(10);
    expect(full.heartbeats.length).toBeGreaterThanOrEqual(3);
    expect(one.happened.indexOf('intake stops')).toBeLessThan(one.happened.indexOf('state draining'));
  });

  test('the uploads of the build cache end before the instance reports Drained, once, and heartbeats continue', async () => {
    const happened: string[] = [];
    let finish = () => {};
    const cache = {
      ...noCache,
      drain: () => {
        happened.push('drain of the cache');
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
      report: async () => void happened.push('numbers'),
    };
    const gone = { ...drain, status: async () => ({ state: 'gone' }) as const };
    const one = await watching({ ...gone, cache }, { phase: 'draining', since: Date.now() });
    happened.splice(0, happened.indexOf('drain of the cache'));
    await seconds(50);
    expect(one.sent).toEqual([]);
    expect(one.heartbeats.length).toBeGreaterThan(0);
    finish();
    await seconds(1);
    expect(happened).toEqual(['drain of the cache', 'numbers']);
    expect(one.sent).toMatchObject([{ report: 'Runner Drained' }]);
    await seconds(120);
    expect(happened.filter((what) => what === 'drain of the cache')).toHaveLength(1);
  });

  test('reports Drained again until the instance is gone, also after a report that failed', async () => {
    let isDown = true;
    const one = await watching({
      target: drain.target,
      status: async () => ({ state: 'gone' }),
      trySend: async () => !isDown,
    });
    await seconds(60);
    expect(one.sent).toEqual([]);
    isDown = false;
    await seconds(65);
    expect(one.sent.map(({ report }) => report)).toEqual(Array(3).fill('Runner Drained'));
  });

  test('a start of the agent that hangs does not delay it', async () => {
    let target = 'InService';
    const settings = { target: async () => target, status: async () => ({ state: 'gone' }) as const };
    const one = await watching({ ...settings, start: never }, { idleSince: Date.now() });
    await seconds(10);
    target = 'Terminated';
    await seconds(11);
    expect(one.sent).toMatchObject([{ report: 'Runner Drained' }]);
    expect(one.happened.filter((what) => what === 'agent starts')).toHaveLength(1);
  });
});

describe('a launch', () => {
  const report = {
    report: 'Runner Ready',
    snapshot: { set: 'none', outcome: 'none' },
    seconds: { restore: 0, boot: 1 },
  };

  test('Ready and heartbeats are repeated for the length of the launch hook', async () => {
    const one = await watching({ status: async () => busy }, { launch: { report, at: Date.now() } });
    await seconds(1_000);
    const readies = one.sent.filter((body) => body.report === 'Runner Ready');
    expect(readies.length).toBeGreaterThanOrEqual(8);
    expect(readies.length).toBeLessThanOrEqual(10);
    expect(readies[0]).toEqual(report);
    expect(one.heartbeats.length).toBeGreaterThanOrEqual(5);
    expect(one.heartbeats.length).toBeLessThanOrEqual(7);
    expect(one.heartbeats[0]).toMatchObject({ phase: 'boot' });
  });

  test('a drain ends the repetition', async () => {
    const one = await watching(
      { status: async () => busy, target: async () => 'Terminated' },
      { launch: { report, at: Date.now() } },
    );
    await seconds(100);
    expect(one.sent).toEqual([]);
    expect(one.heartbeats.at(-1)).toMatchObject({ phase: 'drain', job: '17' });
  });
});

describe('the agent', () => {
  test('is observed at once when it has changed: the next job does not wait for a poll', async () => {
    let change = () => {};
    const one = await watching({
      status: async () => ({ state: 'gone' }),
      config: { pollSeconds: 60, heartbeatSeconds: 60 },
      changed: (signal) =>
        new Promise((resolve) => {
          change = resolve;
          signal.addEventListener('abort', () => resolve());
        }),
    });
    const starts = () => one.happened.filter((what) => what === 'agent starts').length;
    expect(starts()).toBe(1);
    await seconds(30);
    expect(starts()).toBe(1);
    change();
    await seconds(1);
    expect(starts()).toBe(2);
  });

  test('that is busy moves the start of the idle time, on the disk', async () => {
    let status: 'busy' | 'idle' = 'busy';
    const one = await watching(
      {
        status: async () => (status === 'busy' ? busy : { state: 'idle' }),
        facts: () => ({ registers: true, inServiceAt: 1 }),
        config: { pollSeconds: 5, heartbeatSeconds: 60, idleTimeoutMinutes: 10 },
      },
      { idleSince: 1 },
    );
    await seconds(3_600);
    expect(one.state()?.idleSince).toBeGreaterThan(Date.now() - 70_000);
    expect(one.sent).toEqual([]);
    status = 'idle';
    await seconds(590);
    expect(one.sent).toEqual([]);
    await seconds(20);
    expect(one.sent).toMatchObject([{ report: 'Runner Idle' }]);
  });

  test('that has a problem makes the instance unhealthy', async () => {
    const settings: Partial<InstanceSettings> = {
      status: async () => ({ state: 'gone' }),
      facts: () => ({ registers: true, inServiceAt: 1, problem: 'agent too old' }),
    };
    const one = await watching(settings, { idleSince: Date.now() });
    await seconds(60);
    expect(one.sent).toEqual([{ report: 'Runner Unhealthy', reason: 'agent too old' }]);
    expect(one.happened).not.toContain('agent starts');
  });

  test('learns of a Spot interruption when it takes the instance away', async () => {
    const ends: (number | undefined)[] = [];
    const endsAt = Date.now() + 120_000;
    const driver = fakeInstance({
      directory,
      health: healthy,
      reclaimedAt: endsAt,
      config: { pollSeconds: 5 },
    });
    await driver.states.write(ready);
    const runner = driver.restart();
    runner.agent.stopIntake = async (at) => void ends.push(at);
    void watch(runner, stop.signal);
    await seconds(20);
    expect(ends.at(-1)).toBe(endsAt);
  });
});

test('an unhealthy instance stops its intake until that succeeds once', async () => {
  let isDown = true;
  const one = await watching({
    health: { problem: async () => 'disk full' },
    status: async () => busy,
    stopIntake: async () => {
      if (isDown) throw new Error('502');
    },
  });
  await seconds(60);
  expect(one.sent).toEqual([{ report: 'Runner Unhealthy', reason: 'disk full' }]);
  const tries = one.happened.filter((what) => what === 'intake stops').length;
  expect(tries).toBeGreaterThan(8);
  expect(one.lines.filter((line) => line.includes('502'))).toHaveLength(1);
  isDown = false;
  await seconds(60);
  expect(one.happened.filter((what) => what === 'intake stops')).toHaveLength(tries + 1);
});

test('an error that persists is logged once, and again after a success', async () => {
  let isDown = true;
  const one = await watching({
    status: async () => busy,
    health: {
      problem: async () => {
        if (isDown) throw new Error('EACCES');
        return undefined;
      },
    },
  });
  const errors = () => one.lines.filter((line) => line.includes('EACCES')).length;
  await seconds(60);
  expect(errors()).toBe(1);
  isDown = false;
  await seconds(10);
  isDown = true;
  await seconds(60);
  expect(errors()).toBe(2);
});

test('an instance of a warming group never reports Idle', async () => {
  const idle = async () => ({ state: 'idle' }) as const;
  const [runs, warms] = [
    await watching({ status: idle }),
    await watching({ status: idle, config: { pollSeconds: 5, warming: { command: ['x'] } } }),
  ];
  await seconds(7_200);
  expect(runs.sent.length).toBeGreaterThan(20);
  expect(warms.sent).toEqual([]);
});

test('a stop ends the loop although a source does not answer', async () => {
  const one = fakeInstance({ directory, status: never, health: healthy });
  await one.states.write(ready);
  const watched = watch(one.restart(), stop.signal);
  await seconds(1);
  stop.abort();
  await watched;
});

test('a state that the disk does not take is kept, and written when there is room again', async () => {
  vi.useRealTimers();
  const lines: string[] = [];
  // Each write to `/dev/full` fails as on a full disk.
  const blocked = join(directory, 'state');
  const states = stateFile(blocked, (line) => lines.push(line));
  await states.write(ready);
  expect((await stateFile(blocked).read(INSTANCE))?.phase).toBe('ready');
  rmSync(join(blocked, 'runner.json'));
  symlinkSync('/dev/full', join(blocked, 'runner.json.new'));
  expect(await states.update(INSTANCE, { phase: 'draining' })).toMatchObject({ phase: 'draining' });
  await states.flush();
  expect(await states.read(INSTANCE)).toMatchObject({ phase: 'draining' });
  expect(lines).toEqual([expect.stringContaining('ENOSPC')]);
  rmSync(join(blocked, 'runner.json.new'));
  await states.flush();
  expect(await stateFile(blocked).read(INSTANCE)).toMatchObject({ phase: 'draining' });
});
