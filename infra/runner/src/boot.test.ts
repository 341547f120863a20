import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boot } from './boot.ts';
import { newState } from './state.ts';
import { fakeInstance, INSTANCE, type InstanceSettings, Killed } from './testing/fake-instance.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-boot-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const instance = (settings: Partial<InstanceSettings> = {}) => fakeInstance({ directory, ...settings });
const never = () => new Promise<never>(() => {});

test('restores, prepares the agent, reports Ready once, and starts no agent', async () => {
  const one = instance();
  expect(await boot(one.restart())).toBe('ready');
  expect(one.happened.filter((what) => !what.startsWith('state'))).toEqual([
    'restores',
    'agent is prepared',
    'sends Runner Ready',
  ]);
  expect(one.sent).toMatchObject([
    { snapshot: { set: 'default', id: 's1', outcome: 'restored' }, seconds: { restore: 2 } },
  ]);
  expect(JSON.parse(readFileSync(join(directory, 'warm.json'), 'utf8'))).toEqual({
    outcome: 'restored',
    id: 's1',
  });
});

test('a restore is aborted while there is time left for the agent, and the boot continues cold', async () => {
  const one = instance({
    config: { bootTimeoutSeconds: 10 },
    restore: (signal) =>
      new Promise((resolve) => {
        const cold = { outcome: 'cold', fetchedBytes: 0, seconds: 1 } as const;
        signal.addEventListener('abort', () => resolve(cold));
      }),
  });
  const runner = one.restart();
  await runner.states.write(newState(INSTANCE, Date.now() - 9_800));
  expect(await boot(runner)).toBe('ready');
  expect(one.sent).toMatchObject([{ report: 'Runner Ready', snapshot: { outcome: 'cold' } }]);
});

test('a broken snapshot is reported with the one that is mounted instead', async () => {
  const broken = { id: 's2', reason: 'flipped bit', frame: { object: 's1', offset: 7 } };
  const one = instance({
    restore: async () => ({ outcome: 'previous', id: 's1', broken, fetchedBytes: 1, seconds: 1 }),
  });
  await boot(one.restart());
  expect(one.sent).toMatchObject([{ snapshot: { outcome: 'previous', id: 's1', broken } }]);
});

describe('a boot that cannot succeed reports Failed with its stage', () => {
  test.each<[string, string, Partial<InstanceSettings>]>([
    ['no agent', 'agent', { prepare: () => Promise.reject(new Error('no program')) }],
    ['no restore', 'restore', { restore: () => Promise.reject(new Error('disk is gone')) }],
  ])('%s', async (_, stage, settings) => {
    const one = instance(settings);
    expect(await boot(one.restart())).toBe('failed');
    expect(one.sent).toMatchObject([{ report: 'Runner Failed', stage }]);
    expect(one.state()).toMatchObject({ phase: 'failed', pendingReport: null });
  });

  test.each<[string, Partial<InstanceSettings>]>([
    ['restore', { restore: never }],
    ['agent', { prepare: never }],
  ])(
    'also when %s hangs and ignores its signal: the deadline counts from the first start',
    async (stage, settings) => {
      const one = instance({ ...settings, config: { bootTimeoutSeconds: 10 } });
      const runner = one.restart();
      await runner.states.write(newState(INSTANCE, Date.now() - 9_950));
      expect(await boot(runner)).toBe('failed');
      expect(one.sent).toMatchObject([
        { report: 'Runner Failed', stage, reason: expect.stringContaining('deadline') },
      ]);
    },
  );

  test('it stays failed: a restart neither boots nor reports again', async () => {
    const one = instance({ prepare: () => Promise.reject(new Error('no program')) });
    await boot(one.restart());
    expect(await boot(one.restart())).toBe('already-failed');
    expect(one.sent).toHaveLength(1);
  });
});

describe('an instance that must go before it is ready', () => {
  test.each<[string, Partial<InstanceSettings>]>([
    ['scaled in', { target: async () => 'Terminated' }],
    ['reclaimed', { reclaimedAt: 1 }],
  ])('%s: reports nothing, and drains', async (_, settings) => {
    const one = instance(settings);
    expect(await boot(one.restart())).toBe('leaving');
    expect(one.happened).not.toContain('agent starts');
    expect(one.sent).toEqual([]);
    expect(one.state()).toMatchObject({ phase: 'draining' });
  });

  test('a boot succeeds without an answer of the metadata service', async () => {
    const one = instance({ target: () => Promise.reject(new Error('timeout')) });
    expect(await boot(one.restart())).toBe('ready');
  });
});

describe('a restart after the boot', () => {
  test('does not touch the warm tree: a job may use it', async () => {
    const one = instance();
    await boot(one.restart());
    one.happened.length = 0;
    expect(await boot(one.restart())).toBe('ready');
    expect(one.happened).not.toContain('restores');
    expect(one.sent).toHaveLength(1);
  });

  test('restores again after a reboot and reports Ready again: a launch hook of a warm pool may wait', async () => {
    const one = instance({ isWarm: false });
    await boot(one.restart());
    await boot(one.restart());
    expect(one.happened.filter((what) => what === 'restores')).toHaveLength(2);
    expect(one.sent.map(({ report }) => report)).toEqual(['Runner Ready', 'Runner Ready']);
  });
});

describe('SIGKILL before any step', () => {
  test.each<[string, Partial<InstanceSettings>, string]>([
    ['of a good boot', {}, 'Runner Ready'],
    ['of a bad one', { prepare: () => Promise.reject(new Error('no program')) }, 'Runner Failed'],
  ])('%s: in the end one report was sent, and never the opposite one', async (_, settings, report) => {
    const whole = instance(settings);
    await boot(whole.restart());
    const steps = whole.steps();
    expect(steps).toBeGreaterThan(4);
    for (let count = 1; count <= steps + 1; count += 1) {
      const one = instance(settings);
      one.killBefore(count);
      await boot(one.restart()).catch((error: unknown) => {
        if (!(error instanceof Killed)) throw error;
      });
      one.killBefore(Number.POSITIVE_INFINITY);
      await boot(one.restart());
      const reports = new Set(one.sent.map((body) => body.report));
      expect(reports, `killed before step ${count}`).toEqual(new Set([report]));
      expect(one.sent.length).toBeLessThanOrEqual(2);
      expect(one.state()?.pendingReport).toBeNull();
    }
  });
});

describe('SIGTERM ends a boot at once, and the next start completes it', () => {
  const stopSoon = () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    return stop.signal;
  };

  test.each<[string, Partial<InstanceSettings>]>([
    ['a restore that ignores its signal', { restore: never }],
    [
      'a restore that ends cold on its signal',
      {
        restore: (signal) =>
          new Promise((resolve) =>
            signal.addEventListener('abort', () => resolve({ outcome: 'cold', fetchedBytes: 0, seconds: 1 })),
          ),
      },
    ],
    ['a preparation of the agent', { prepare: never }],
  ])('%s', async (_, settings) => {
    const changing = { ...settings };
    const one = instance({ ...changing, restore: (signal) => changing.restore?.(signal) ?? restored() });
    const faulty = one.restart();
    expect(await boot(faulty, stopSoon())).toBe('stopped');
    expect(one.sent).toEqual([]);
    expect(one.state()).toMatchObject({ phase: 'booting' });
    // A restore that was stopped half-way is not recorded as a cold boot.
    if (changing.restore) expect(one.state()?.restored).toBeUndefined();
  });

  const restored = async () => ({ outcome: 'restored', id: 's1', fetchedBytes: 1, seconds: 2 }) as const;

  test('a report that cannot be sent: the next start sends it', async () => {
    const one = instance();
    const runner = one.restart();
    const stop = new AbortController();
    runner.reporter.send = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
        // Not by the clock: a slow disk delays the report.
        stop.abort();
      });
    expect(await boot(runner, stop.signal)).toBe('stopped');
    expect(one.state()?.pendingReport).toMatchObject({ report: 'Runner Ready' });
    expect(await boot(one.restart())).toBe('ready');
    expect(one.sent).toHaveLength(1);
  });

  test('a restore after a reboot', async () => {
    const one = instance({ restore: never, isWarm: false });
    await one.states.write({ ...newState(INSTANCE, 0), phase: 'ready' });
    expect(await boot(one.restart(), stopSoon())).toBe('stopped');
  });
});

test('a reboot with a launch hook that waits sends heartbeats during its restore', async () => {
  let finish = () => {};
  const one = instance({
    isWarm: false,
    restore: () =>
      new Promise((resolve) => {
        finish = () => resolve({ outcome: 'restored', id: 's1', fetchedBytes: 1, seconds: 2 });
      }),
  });
  await one.states.write({ ...newState(INSTANCE, 0), phase: 'ready' });
  const booting = boot(one.restart());
  await expect.poll(() => one.heartbeats).toEqual([{ report: 'Runner Heartbeat', phase: 'boot' }]);
  finish();
  expect(await booting).toBe('ready');
  expect(one.state()?.launch).toMatchObject({ report: { report: 'Runner Ready' } });
});

test('a restore that fails after a reboot marks the instance unhealthy', async () => {
  const marked: string[] = [];
  const one = instance({
    isWarm: false,
    restore: () => Promise.reject(new Error('ENOSPC: no space left on device')),
    health: { mark: async (reason) => void marked.push(reason) },
  });
  await one.states.write({ ...newState(INSTANCE, 0), phase: 'ready' });
  expect(await boot(one.restart())).toBe('ready');
  expect(marked).toEqual([expect.stringContaining('ENOSPC')]);
});
