import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boot } from './boot.ts';
import { newState } from './state.ts';
import { fakeMachine, INSTANCE, Killed, type MachineSettings } from './testing/fake-machine.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-boot-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const machine = (settings: Partial<MachineSettings> = {}) => fakeMachine({ directory, ...settings });
const never = () => new Promise<never>(() => {});

test('restores, then starts the agent, then says Ready: once', async () => {
  const one = machine();
  expect(await boot(one.restart())).toBe('ready');
  expect(one.happened.filter((what) => !what.startsWith('state'))).toEqual([
    'restores',
    'agent starts',
    'says Runner Ready',
  ]);
  expect(one.sent).toMatchObject([
    { snapshot: { set: 'default', id: 's1', outcome: 'restored' }, seconds: { restore: 2 } },
  ]);
  expect(JSON.parse(readFileSync(join(directory, 'warm.json'), 'utf8'))).toEqual({
    outcome: 'restored',
    id: 's1',
  });
});

test('a restore is told to stop while there is time left for the agent, and the boot goes on cold', async () => {
  const one = machine({
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

test('a broken snapshot is told, beside the one that serves instead', async () => {
  const broken = { id: 's2', reason: 'flipped bit' };
  const one = machine({
    restore: async () => ({ outcome: 'previous', id: 's1', broken, fetchedBytes: 1, seconds: 1 }),
  });
  await boot(one.restart());
  expect(one.sent).toMatchObject([{ snapshot: { outcome: 'previous', id: 's1', broken } }]);
});

describe('a boot that cannot succeed says Failed, with its stage', () => {
  test.each<[string, string, Partial<MachineSettings>]>([
    ['no agent', 'agent', { start: () => Promise.reject(new Error('no token')) }],
    ['no restore', 'restore', { restore: () => Promise.reject(new Error('disk is gone')) }],
  ])('%s', async (_, stage, settings) => {
    const one = machine(settings);
    expect(await boot(one.restart())).toBe('failed');
    expect(one.sent).toMatchObject([{ report: 'Runner Failed', stage }]);
    expect(one.state()).toMatchObject({ phase: 'failed', owed: null });
  });

  test.each<[string, Partial<MachineSettings>]>([
    ['restore', { restore: never }],
    ['agent', { start: never }],
  ])(
    'also when %s hangs and notices nothing: the deadline counts from the first start',
    async (stage, settings) => {
      const one = machine({ ...settings, config: { bootTimeoutSeconds: 10 } });
      const runner = one.restart();
      await runner.states.write(newState(INSTANCE, Date.now() - 9_950));
      expect(await boot(runner)).toBe('failed');
      expect(one.sent).toMatchObject([
        { report: 'Runner Failed', stage, reason: expect.stringContaining('deadline') },
      ]);
    },
  );

  test('an agent that came up too late takes no job on a machine that is given up', async () => {
    const one = machine({ start: () => Promise.reject(new Error('did not register')) });
    await boot(one.restart());
    expect(one.happened).toContain('intake stops');
  });

  test('it stays failed: a restart neither boots again nor says it again', async () => {
    const one = machine({ start: () => Promise.reject(new Error('no token')) });
    await boot(one.restart());
    expect(await boot(one.restart())).toBe('already-failed');
    expect(one.sent).toHaveLength(1);
  });
});

describe('a machine that must go before it is ready', () => {
  test.each<[string, Partial<MachineSettings>]>([
    ['scaled in', { target: async () => 'Terminated' }],
    ['reclaimed', { isReclaimed: true }],
  ])('%s: starts no agent, so that no job begins there', async (_, settings) => {
    const one = machine(settings);
    expect(await boot(one.restart())).toBe('leaving');
    expect(one.happened).not.toContain('agent starts');
    expect(one.sent).toEqual([]);
    expect(one.state()).toMatchObject({ phase: 'draining' });
  });

  test('a machine that a warm pool will stop is ready without an agent, and gets one when it wakes', async () => {
    let target = 'Warmed:Stopped';
    const one = machine({ target: async () => target, isWarm: false });
    expect(await boot(one.restart())).toBe('ready');
    expect(one.happened).not.toContain('agent starts');
    target = 'InService';
    expect(await boot(one.restart())).toBe('ready');
    expect(one.happened).toContain('agent starts');
    expect(one.sent.map(({ report }) => report)).toEqual(['Runner Ready', 'Runner Ready']);
  });

  test('a metadata service that does not answer keeps nobody from booting', async () => {
    const one = machine({ target: () => Promise.reject(new Error('timeout')) });
    expect(await boot(one.restart())).toBe('ready');
  });
});

describe('a restart after the boot', () => {
  test('leaves the warm tree alone: a job may be at work there', async () => {
    const one = machine();
    await boot(one.restart());
    one.happened.length = 0;
    expect(await boot(one.restart())).toBe('ready');
    expect(one.happened).not.toContain('restores');
    expect(one.sent).toHaveLength(1);
  });

  test('restores again when the machine was rebooted, and says Ready again: a warm pool may wait for it', async () => {
    const one = machine({ isWarm: false });
    await boot(one.restart());
    await boot(one.restart());
    expect(one.happened.filter((what) => what === 'restores')).toHaveLength(2);
    expect(one.sent.map(({ report }) => report)).toEqual(['Runner Ready', 'Runner Ready']);
  });

  test('goes on to watch though the host is down', async () => {
    let down = false;
    const one = machine({ start: async () => (down ? Promise.reject(new Error('502')) : undefined) });
    await boot(one.restart());
    down = true;
    expect(await boot(one.restart())).toBe('ready');
  });
});

describe('SIGKILL before any step', () => {
  test.each<[string, Partial<MachineSettings>, string]>([
    ['of a good boot', {}, 'Runner Ready'],
    ['of a bad one', { start: () => Promise.reject(new Error('no token')) }, 'Runner Failed'],
  ])('%s: in the end it has said one thing, and never the opposite', async (_, settings, report) => {
    const whole = machine(settings);
    await boot(whole.restart());
    const steps = whole.steps();
    expect(steps).toBeGreaterThan(4);
    for (let count = 1; count <= steps + 1; count += 1) {
      const one = machine(settings);
      one.killBefore(count);
      await boot(one.restart()).catch((error: unknown) => {
        if (!(error instanceof Killed)) throw error;
      });
      one.killBefore(Number.POSITIVE_INFINITY);
      await boot(one.restart());
      const said = new Set(one.sent.map((body) => body.report));
      expect(said, `killed before step ${count}`).toEqual(new Set([report]));
      expect(one.sent.length).toBeLessThanOrEqual(2);
      expect(one.state()?.owed).toBeNull();
    }
  });
});
