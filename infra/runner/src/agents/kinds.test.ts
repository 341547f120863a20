import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fakeProgram } from '../testing/fake-kind.ts';
import { fakeUnits } from '../testing/fake-units.ts';
import type { AgentKind, RunningAgent, StopControl } from './agent-kind.ts';
import { agentLogs } from './agent-log.ts';
import { bkAgent } from './bk.ts';
import { cciAgent } from './cci.ts';
import { ghaAgent } from './gha.ts';
import { sharedUnits } from './placed-units.ts';
import { parseAgentSettings } from './settings.ts';

/** What each kind of agent decides. `test/e2e/agent-programs.test.ts` has the programs themselves. */

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-kinds-'));
  mkdirSync(join(directory, 'agents'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function kind(driver: 'gha' | 'bk' | 'cci', oneJob = false, change: object = {}): AgentKind {
  const settings = parseAgentSettings({
    driver,
    workDirectory: join(directory, 'work'),
    queue: 'q',
    ...change,
  });
  const create = { gha: ghaAgent, bk: bkAgent, cci: cciAgent }[driver];
  return create({
    settings,
    runtimeDirectory: directory,
    program: fakeProgram,
    units: sharedUnits(fakeUnits().port),
    logs: agentLogs(directory),
    env: {},
    oneJob,
    now: () => 1_000_000_000,
    log: () => {},
  });
}

const child = (...argv: string[]) => ({ pid: 2, startTime: '2', argv });
const running = (change: Partial<RunningAgent> = {}): RunningAgent => ({
  unit: 'x-1',
  place: 'x-1',
  main: { pid: 1, startTime: '1' },
  children: [],
  name: 'i-0123456789abcdef0-1',
  job: undefined,
  port: undefined,
  isIdle: true,
  idleMs: 0,
  ...change,
});

/** What the kind does in one step of a drain. */
async function stopStep(
  of: AgentKind,
  agent: Partial<RunningAgent>,
  control: Partial<StopControl>,
): Promise<string[]> {
  const done: string[] = [];
  await of.stop(running(agent), {
    leftMs: Number.POSITIVE_INFINITY,
    removedMs: undefined,
    isReleaseOver: false,
    signalOnce: async (signal) => void done.push(signal),
    release: () => void done.push('release'),
    ...control,
  });
  return done;
}

describe('a drain of GitHub', () => {
  const worker = child('/w/bin/Runner.Worker', 'spawnclient');
  test.each<[string, Partial<RunningAgent>, Partial<StopControl>, string[]]>([
    ['idle', {}, {}, ['release']],
    ['starting', { isIdle: false }, {}, []],
    ['busy', { isIdle: false, children: [worker] }, { isReleaseOver: true }, []],
    [
      'idle by the record, and busy by its processes',
      { idleMs: 99_999, children: [worker] },
      { isReleaseOver: true },
      [],
    ],
    ['removed just now', {}, { removedMs: 14_000 }, []],
    ['removed, and still there', {}, { removedMs: 16_000 }, ['SIGINT']],
    ['not removable, idle for a minute', { idleMs: 60_000 }, { isReleaseOver: true }, []],
    ['not removable, idle for 70 s', { idleMs: 70_000 }, { isReleaseOver: true }, ['SIGINT']],
    ['idle, 70 s before a Spot interruption', { idleMs: 99_999 }, { leftMs: 70_000 }, ['release']],
    ['idle, 59 s before a Spot interruption', { idleMs: 99_999 }, { leftMs: 59_000 }, ['SIGINT']],
    ['busy, 30 s before a Spot interruption', { isIdle: false, children: [worker] }, { leftMs: 30_000 }, []],
    [
      'busy, 24 s before a Spot interruption',
      { isIdle: false, children: [worker] },
      { leftMs: 24_000 },
      ['SIGINT'],
    ],
  ])('%s', async (_, agent, control, expected) => {
    expect(await stopStep(kind('gha'), agent, control)).toEqual(expected);
  });
});

test('a drain of Buildkite: SIGTERM, and SIGQUIT 20 s before a Spot interruption', async () => {
  expect(await stopStep(kind('bk'), {}, {})).toEqual(['SIGTERM']);
  expect(await stopStep(kind('bk'), {}, { leftMs: 21_000 })).toEqual(['SIGTERM']);
  expect(await stopStep(kind('bk'), {}, { leftMs: 19_000 })).toEqual(['SIGTERM', 'SIGQUIT']);
});

test('a drain of CircleCI: SIGTERM alone', async () => {
  expect(await stopStep(kind('cci'), {}, { leftMs: 1_000 })).toEqual(['SIGTERM']);
});

describe('the activity of an agent', () => {
  const log = (text: string) => writeFileSync(join(directory, 'agents/x-1.log'), text);

  test('of GitHub: a worker, else what the listener prints', async () => {
    const gha = kind('gha');
    expect(await gha.observe(running())).toEqual({ state: 'starting' });
    log('2026-11-25 10:00:00Z: Listening for Jobs\n');
    expect(await gha.observe(running())).toEqual({ state: 'idle' });
    // A helper of the listener is no job.
    expect(await gha.observe(running({ children: [child('node', 'x.js')] }))).toEqual({ state: 'idle' });
    log('2026-11-25 10:00:00Z: Listening for Jobs\n2026-11-25 10:00:01Z: Running job: build (1)\n');
    const busy = { state: 'busy', job: 'build (1)', process: { pid: 2 } };
    expect(await gha.observe(running({ children: [child('/w/bin/Runner.Worker')] }))).toMatchObject(busy);
  });

  test('of Buildkite: a job is known without an answer of the port, and nothing else is', async () => {
    const bk = kind('bk');
    const bootstrap = child('/opt/buildkite-agent', 'bootstrap');
    expect(await bk.observe(running({ port: 1, children: [bootstrap] }))).toMatchObject({ state: 'busy' });
    await expect(bk.observe(running({ port: 1 }))).rejects.toThrow();
  });

  test('of Buildkite, which aw-runner has left in the middle of its registration: it is ended', async () => {
    expect(await kind('bk').observe(running({ name: undefined }))).toEqual({
      state: 'idle',
      endBy: 'SIGTERM',
    });
    const children = [child('/opt/buildkite-agent', 'bootstrap')];
    expect(await kind('bk').observe(running({ name: undefined, children }))).toMatchObject({ state: 'busy' });
  });

  describe('of Buildkite, whose port a job has taken', () => {
    let server: Server;
    let sent = 0;
    const answers: Record<string, (response: ServerResponse) => void> = {
      idle: (response) => response.end('{"workers":[{"status":"idle"}]}'),
      'no status': (response) => response.end('{"workers":"none"}'),
      'another address': (response) => response.writeHead(302, { location: '/other' }).end(),
      'no end': (response) => {
        const more = () => {
          sent += 65_536;
          if (sent < 64 << 20 && !response.destroyed)
            response.write(' '.repeat(65_536), () => setImmediate(more));
        };
        more();
      },
    };
    const portOf = async (answer: string) => {
      server = createServer((_, response) => answers[answer]?.(response));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    };
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });

    test.each(Object.keys(answers))('%s: a job that has a process is a job', async (answer) => {
      const bootstrap = child('/opt/buildkite-agent', 'bootstrap');
      const agent = running({ port: await portOf(answer), children: [bootstrap] });
      expect(await kind('bk').observe(agent)).toMatchObject({ state: 'busy', job: 'unknown' });
    });

    test.each(['no status', 'another address', 'no end'])('%s is no answer', async (answer) => {
      await expect(kind('bk').observe(running({ port: await portOf(answer) }))).rejects.toThrow();
    });

    test('a status without an end is not read to the end', async () => {
      sent = 0;
      await expect(kind('bk').observe(running({ port: await portOf('no end') }))).rejects.toThrow(
        /longer than 65536 bytes/,
      );
      expect(sent).toBeLessThan(16 << 20);
    });
  });

  test('of CircleCI: any child process is a task', async () => {
    expect(await kind('cci').observe(running())).toEqual({ state: 'idle' });
    expect(await kind('cci').observe(running({ children: [child('task-agent')] }))).toMatchObject({
      state: 'busy',
    });
  });
});

describe('the end of an agent of GitHub', () => {
  const end = (code: number | null, sawJob = false) =>
    kind('gha').ended({ unit: 'x-1', version: '1', code, sawJob });

  test.each([
    [0, { ranJob: false }],
    [1, { ranJob: false, isFault: true }],
    [2, { ranJob: false, again: 5_000 }],
    [3, { ranJob: false, update: true, again: 0 }],
    [4, { ranJob: false, update: true, again: 0 }],
    [5, { ranJob: false, isFault: false }],
    [null, { ranJob: false, isFault: false }],
  ])('%s', async (code, expected) => {
    expect(await end(code)).toEqual(expected);
  });

  test.each([2, 3, 4, 7])(
    '%s after a job: nothing that the job could have written is used again',
    async (code) => {
      expect(await end(code, true)).toEqual({ ranJob: true, isUsedUp: false });
    },
  );

  test('7 is a version that is too old', async () => {
    expect((await end(7)).problem).toMatch(/^agent too old/);
  });

  test('0 after a job uses the registration up, also when the job was too short to be observed', async () => {
    expect(await end(0, true)).toEqual({ ranJob: true, isUsedUp: true });
    writeFileSync(join(directory, 'agents/x-1.log'), 'Running job: build\n');
    expect(await end(0)).toEqual({ ranJob: true, isUsedUp: true });
  });
});

/** An attempt whose launches are in `started`. */
async function attemptWith(started: string[][]) {
  mkdirSync(join(directory, 'work/bk'), { recursive: true });
  return {
    unit: 'x-1',
    program: await fakeProgram.ensure(undefined, new AbortController().signal),
    isStopped: () => false,
    register: async () =>
      ({ provider: 'cci', name: 'i-0123456789abcdef0-1', resourceClass: 'a/b', authToken: 't' }) as const,
    launch: async ({ argv }: { argv: readonly string[] }) => void started.push([...argv]),
    hasEnded: async () => true,
  };
}

test('the depth of clones of Buildkite is a flag of the agent', async () => {
  const started: string[][] = [];
  const attempt = await attemptWith(started);
  await kind('bk', false, { gitCloneDepth: 50 }).start(attempt);
  await kind('bk').start(attempt);
  const [withDepth, without] = started.map((argv) => argv.indexOf('--git-clone-flags'));
  expect(started[0]?.[(withDepth ?? -1) + 1]).toBe('-v --depth=50');
  expect(without).toBe(-1);
});

test('isolated jobs get an agent each', async () => {
  const started: string[][] = [];
  const attempt = await attemptWith(started);
  await kind('bk', true).start(attempt);
  await kind('bk').start(attempt);
  expect(started.map((argv) => argv.includes('--disconnect-after-job'))).toEqual([true, false]);
  for (const [oneJob, mode] of [
    [true, 'single-task'],
    [false, 'continuous'],
  ] as const) {
    const cci = kind('cci', oneJob);
    await cci.start(attempt);
    expect(JSON.parse(readFileSync(join(directory, 'x-1.yaml'), 'utf8'))).toMatchObject({
      api: { auth_token: 't' },
      runner: { mode, name: 'i-0123456789abcdef0-1' },
    });
    await cci.cleanUp('x-1');
  }
  expect(started.flat().join(' ')).not.toContain(' t ');
});
