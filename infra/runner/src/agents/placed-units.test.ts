import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { JobPlaces } from '../isolation/job-places.ts';
import { identify, type ProcessIdentity } from '../processes.ts';
import { fakeUnits } from '../testing/fake-units.ts';
import { isolatedUnits, type PlacedUnit } from './placed-units.ts';

const unit: PlacedUnit = {
  name: 'gha-1',
  place: 'gha-1',
  argv: ['/agent', 'run'],
  user: 'runner',
  directory: '/',
  env: {},
  secrets: {},
  logFile: '/dev/null',
};

let folder: string;
let fake: ReturnType<typeof fakeUnits>;
let lines: string[];
let calls: string[];
let isTight: boolean;
let watch: () => Promise<boolean>;
/** The agents in their places, by their number. */
let agents: Map<number, ProcessIdentity>;
let programPid: number | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-placed-'));
  fake = fakeUnits();
  lines = [];
  calls = [];
  isTight = false;
  watch = () => new Promise(() => {});
  agents = new Map();
  programPid = undefined;
});
afterEach(() => rmSync(folder, { recursive: true }));

const places: JobPlaces = {
  async open(name) {
    calls.push(`open ${name}`);
    return [];
  },
  command: async (place, user, argv) => ['/usr/bin/env', place, user, ...argv],
  programPid: async () => programPid,
  isTight: async () => isTight,
  watchDisk(cgroup) {
    calls.push(`watch ${cgroup}`);
    return watch();
  },
  async close(name) {
    calls.push(`close ${name}`);
    return ['network link docker0 removed'];
  },
};

function placed(cgroup?: string) {
  const port = { ...fake.port, cgroup: async () => cgroup };
  const find = async (_main: ProcessIdentity, _pids: readonly number[], number: number | undefined) =>
    number === undefined ? undefined : agents.get(number);
  return isolatedUnits(port, places, (line) => lines.push(line), find);
}

/** A process of this system whose signals a test can see. */
async function running(): Promise<ProcessIdentity> {
  const found = await identify(process.pid);
  if (!found) throw new Error('this process is not there');
  return found;
}

test('the unit runs the command of the place as root, and is started when its agent runs', async () => {
  let isStarted = false;
  const started = placed()
    .start(unit)
    .then(() => {
      isStarted = true;
    });
  await expect.poll(() => fake.started).toHaveLength(1);
  expect(fake.started[0]?.spec).toMatchObject({
    argv: ['/usr/bin/env', 'gha-1', 'runner', '/agent', 'run'],
    user: 'root',
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(isStarted).toBe(false);
  agents.set(5, await running());
  programPid = 5;
  await started;
  expect((await placed().state('gha-1'))?.main).toEqual(await running());
});

test('a command that ends without an agent is started too: its exit code counts', async () => {
  fake.onStart((each) => fake.end(each, 2));
  await placed().start(unit);
  expect((await placed().state('gha-1'))?.ended).toEqual({ code: 2 });
});

test('while the root is made, no process of the unit looks like a job', async () => {
  await fake.port.start(unit);
  const [made] = fake.running();
  if (made) fake.work(made, ['mount']);
  const state = await placed().state('gha-1');
  expect(state?.pids).toEqual([made?.main?.pid]);
});

test('a signal that no agent can get is an error, and not a signal that was sent', async () => {
  await fake.port.start(unit);
  await expect(placed().signal('gha-1', 'SIGTERM')).rejects.toThrow('does not run yet');
  expect(fake.running()[0]?.signals).toEqual([]);
  let received = 0;
  const count = () => (received += 1);
  process.on('SIGUSR2', count);
  agents.set(5, await running());
  programPid = 5;
  await placed().signal('gha-1', 'SIGUSR2');
  await expect.poll(() => received).toBe(1);
  process.off('SIGUSR2', count);
  for (const each of fake.running()) fake.end(each);
  await placed().signal('gha-1', 'SIGTERM');
});

test.each([
  [0, 0],
  [3, 3],
  [128, 128],
  [137, null],
  [143, null],
])('exit code %s of the command is %s of the agent', async (code, expected) => {
  await fake.port.start(unit);
  for (const each of fake.running()) fake.end(each, code);
  expect((await placed().state('gha-1'))?.ended).toEqual({ code: expected });
});

test('a unit that goes on for a minute after the end of its agent is killed, as by a job that traces its agent', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    await fake.port.start(unit);
    const cgroup = join(folder, 'cgroup');
    mkdirSync(cgroup);
    writeFileSync(join(cgroup, 'cgroup.events'), 'populated 0\n');
    programPid = 5;
    const here = placed(cgroup);
    await here.state('gha-1');
    vi.advanceTimersByTime(59_000);
    await here.state('gha-1');
    expect(existsSync(join(cgroup, 'cgroup.kill'))).toBe(false);
    vi.advanceTimersByTime(1_000);
    await here.state('gha-1');
    expect(existsSync(join(cgroup, 'cgroup.kill'))).toBe(true);
    expect(lines).toHaveLength(1);
  } finally {
    vi.useRealTimers();
  }
});

test('before a unit is removed its cgroup is killed', async () => {
  await fake.port.start(unit);
  for (const each of fake.running()) fake.end(each);
  const cgroup = join(folder, 'cgroup');
  mkdirSync(cgroup);
  writeFileSync(join(cgroup, 'cgroup.events'), 'populated 1\n');
  writeFileSync(join(cgroup, 'cgroup.procs'), '');
  const removed = placed(cgroup).remove('gha-1');
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(await fake.port.list()).toEqual(['gha-1']);
  writeFileSync(join(cgroup, 'cgroup.events'), 'populated 0\n');
  await removed;
  expect(await fake.port.list()).toEqual([]);
});

test('what a job has changed in the kernel is in the log', async () => {
  await placed().discard('gha-1');
  expect(lines).toEqual(['after the job of gha-1: network link docker0 removed']);
});

test('a small disk is watched once per unit, also by the next aw-runner, and again after an error', async () => {
  isTight = true;
  await fake.port.start(unit);
  const first = placed('/cgroup');
  await first.state('gha-1');
  await first.state('gha-1');
  expect(calls).toEqual(['watch /cgroup']);
  await placed('/cgroup').state('gha-1');
  expect(calls).toHaveLength(2);
  watch = () => Promise.reject(new Error('no such file'));
  const broken = placed('/cgroup');
  await broken.state('gha-1');
  await expect.poll(() => lines).toEqual(['watch of the disk: Error: no such file']);
  await broken.state('gha-1');
  expect(calls).toHaveLength(4);
});
