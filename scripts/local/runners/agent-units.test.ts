import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AgentUnit, AgentUnits } from '../../../infra/runner/src/agents/units.ts';
import { isAlive } from '../../../infra/runner/src/processes.ts';
import { cgroupOf } from '../cleanup/cgroups.ts';
import { cleanRun, startedFor } from '../cleanup/clean.ts';
import { waitFor } from '../demo/wait-for.ts';
import { localUnits } from './agent-units.ts';

/** Below `.local/run` a user with permission gets cgroups; elsewhere there are none, as without permission. */
const KINDS = [
  ['with a cgroup where there can be one', '.local/run/1'],
  ['without a cgroup', 'run/1'],
] as const;

describe.each(KINDS)('an agent on a laptop, %s', (_, below) => {
  let root: string;
  let folder: string;
  let units: AgentUnits;
  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'hearth-units-')));
    folder = join(root, below, 'runners/i-0123456789abcdef0');
    await mkdir(folder, { recursive: true });
    units = localUnits({ stateDirectory: folder, log: () => {} });
  });
  afterEach(async () => {
    await cleanRun(folder);
    await rm(root, { recursive: true, force: true });
  });

  const unit = (script: string, more: Partial<AgentUnit> = {}): AgentUnit => ({
    name: 'agent-1',
    argv: ['/bin/sh', '-c', script],
    user: 'runner',
    directory: folder,
    env: {},
    secrets: {},
    logFile: join(folder, 'agent.log'),
    ...more,
  });
  const log = () => readFile(join(folder, 'agent.log'), 'utf8');
  const untilEnded = (name = 'agent-1') =>
    waitFor('its end', async () => (await units.state(name))?.ended, { seconds: 25 });

  test('runs in a process tree of its own, and is found by the next aw-runner', async () => {
    await units.start(unit('sleep 60 & sleep 60'));
    const next = localUnits({ stateDirectory: folder, log: () => {} });
    expect(await next.list()).toEqual(['agent-1']);
    const pids = await waitFor(
      'both processes of its job',
      async () => {
        const found = (await next.state('agent-1'))?.pids ?? [];
        return found.length === 3 && found;
      },
      { seconds: 25 },
    );
    const state = await next.state('agent-1');
    expect(state).toMatchObject({ main: { pid: expect.any(Number) }, ended: undefined });
    expect(pids).toContain(state?.main?.pid);
    expect(pids).not.toContain(process.pid);
  });

  test('its exit code is kept until it is removed', async () => {
    await units.start(unit('exit 7'));
    expect(await untilEnded()).toEqual({ code: 7 });
    expect(await units.state('agent-1')).toEqual({ main: undefined, ended: { code: 7 }, pids: [] });
    await units.remove('agent-1');
    expect(await units.state('agent-1')).toBeUndefined();
    await units.start(unit('exit 0'));
    expect(await untilEnded()).toEqual({ code: 0 });
  });

  test('a signal reaches the main process alone', async () => {
    await units.start(unit("trap 'exit 3' TERM; sleep 60 & wait $!"));
    await waitFor('the job', async () => (await units.state('agent-1'))?.pids.length === 2, { seconds: 25 });
    await units.signal('agent-1', 'SIGTERM');
    expect(await untilEnded()).toEqual({ code: 3 });
    const state = await units.state('agent-1');
    expect(state?.main).toBeUndefined();
    expect(state?.pids).toHaveLength(1);
    await units.signal('agent-1', 'SIGTERM');
  });

  test('a signal that ends it is no exit code', async () => {
    await units.start(unit('sleep 60'));
    await units.signal('agent-1', 'SIGKILL');
    expect(await untilEnded()).toEqual({ code: null });
  });

  test('gets its secrets in its environment, and they are in no argument and no file', async () => {
    const secrets = { JIT: 'a b$c"d\'e\\f', OTHER: 'hidden' };
    await units.start(
      unit('printf "%s %s %s\\n" "$JIT" "$PLAIN" "$AWS_SECRET_ACCESS_KEY"; exec sleep 60', {
        secrets,
        env: { PLAIN: 'x' },
      }),
    );
    await waitFor('its output', async () => (await log()) !== '', { seconds: 25 });
    expect(await log()).toBe(`${secrets.JIT} x \n`);
    const commands = (await startedFor(folder)).map(({ command }) => command).join('\n');
    expect(commands).toContain('sleep 60');
    expect(commands).not.toContain('hidden');
  });

  test('a unit is not started twice under one name', async () => {
    await units.start(unit('sleep 60'));
    await expect(units.start(unit('sleep 60'))).rejects.toThrow('agent-1 exists');
  });

  test('a program that does not exist is an error that names it, and leaves no unit', async () => {
    await expect(units.start(unit('', { argv: ['/no/such/agent'] }))).rejects.toThrow('/no/such/agent');
    expect(await units.list()).toEqual([]);
  });

  test('the end of the instance ends it with its job', async () => {
    // A job that hides: its own session, and nothing of the agent in its environment.
    await units.start(unit('env -i setsid sleep 61 & sleep 60'));
    const cgroup = await cgroupOf(folder);
    await waitFor('the job', async () => (await units.state('agent-1'))?.pids.length ?? 0, { seconds: 25 });
    const pids = (await units.state('agent-1'))?.pids ?? [];
    await cleanRun(folder);
    expect(await startedFor(folder)).toEqual([]);
    if (cgroup === undefined) return;
    for (const pid of pids) expect(await isAlive(pid)).toBe(false);
  });
});
