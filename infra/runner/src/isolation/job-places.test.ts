import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type JobTrees, jobPlaces, type KernelPort } from './job-places.ts';

let folder: string;
let calls: string[];
let boot: string;
let lostWrites: string | undefined;
let held: Error | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-places-'));
  calls = [];
  boot = 'boot-1';
  lostWrites = undefined;
  held = undefined;
});
afterEach(() => rmSync(folder, { recursive: true }));

let count = 0;
const trees: JobTrees = {
  async clone() {
    count += 1;
    calls.push(`clone ${count}`);
    return { name: String(count) };
  },
  point: (name) => `/trees/${name}`,
  isTight: async () => false,
  watchDisk: async () => false,
  problem: async () => lostWrites,
  async discard(name) {
    if (held) throw held;
    calls.push(`discard ${name}`);
  },
};

const kernel: KernelPort = {
  async read() {
    calls.push('read kernel');
    return { links: [], tables: {}, saved: {}, sysctls: {}, formats: [] };
  },
  async restore(_before, tree) {
    calls.push(`restore kernel ${tree}`);
    return ['network link docker0 removed'];
  },
  closeMetadata: async () => void calls.push('close metadata'),
  openMetadata: async () => void calls.push('open metadata'),
  bootId: async () => boot,
};

function places(change: { jobsUseInstanceRole?: boolean } = {}, use = trees) {
  count = 0;
  const settings = {
    stateDirectory: folder,
    warm: [],
    views: [],
    sharedMounts: [],
    hidden: [],
    files: [],
    docker: false,
    jobsUseInstanceRole: false,
    ...change,
  };
  return jobPlaces(settings, use, kernel);
}

test('one place after the other: rules and a clone before the job, kernel and tree after it', async () => {
  const here = places();
  await here.open('gha-1');
  expect(await here.close('gha-1')).toEqual(['network link docker0 removed']);
  await here.open('gha-2');
  expect(calls).toEqual([
    'read kernel',
    'close metadata',
    'clone 1',
    'restore kernel /trees/1',
    'discard 1',
    'close metadata',
    'clone 2',
  ]);
});

test('the next aw-runner of the same boot removes the place of the one before, and reads no state after a job', async () => {
  await places().open('gha-1');
  calls = [];
  const next = places();
  expect(await next.command('gha-1', 'runner', ['agent'])).toContain('runner');
  await next.close('gha-1');
  expect(calls).toEqual(['restore kernel /trees/1', 'discard 1']);
});

test('after a reboot the state of the kernel is a new one', async () => {
  await places().open('gha-1');
  boot = 'boot-2';
  calls = [];
  await places().close('gha-1');
  expect(calls).toEqual(['read kernel', 'restore kernel /trees/1', 'discard 1']);
});

test('a group whose jobs use the role of the instance opens the metadata service', async () => {
  await places({ jobsUseInstanceRole: true }).open('gha-1');
  expect(calls).toContain('open metadata');
  expect(calls).not.toContain('close metadata');
});

test('lost writes are reported, and the tree is discarded all the same', async () => {
  const here = places();
  await here.open('gha-1');
  lostWrites = 'disk full';
  expect(await here.close('gha-1')).toContain('disk full');
  expect(calls).toContain('discard 1');
});

test('a tree that something holds stays known, and is discarded by a later try', async () => {
  const here = places();
  await here.open('gha-1');
  held = new Error('the tree is held by cat (pid 7)');
  await expect(here.close('gha-1')).rejects.toThrow('held by cat');
  held = undefined;
  await here.close('gha-1');
  expect(calls.filter((call) => call === 'discard 1')).toHaveLength(1);
});

test('a place that the chain does not know any more is removed before the next one is made', async () => {
  const here = places();
  await here.open('gha-1');
  calls = [];
  expect(await here.open('gha-2')).toEqual(['network link docker0 removed']);
  expect(calls).toEqual(['restore kernel /trees/1', 'discard 1', 'close metadata', 'clone 2']);
  expect(await here.close('gha-1')).toEqual([]);
});

test('the number of the program is that of this start', async () => {
  const point = join(folder, 'trees');
  mkdirSync(join(point, '1'), { recursive: true });
  const here = places({}, { ...trees, point: (name) => join(point, name) });
  expect(await here.programPid()).toBeUndefined();
  await here.open('gha-1');
  expect(await here.programPid()).toBeUndefined();
  writeFileSync(join(point, '1/agent-pid'), '37\n');
  expect(await here.programPid()).toBe(37);
  await here.command('gha-1', 'runner', ['agent']);
  expect(await here.programPid()).toBeUndefined();
});

test('the mount point of the root is gone with its tree', async () => {
  const here = places({}, { ...trees, point: (name) => join(folder, name) });
  await here.open('gha-1');
  mkdirSync(join(folder, '1.root'));
  await here.close('gha-1');
  expect(existsSync(join(folder, '1.root'))).toBe(false);
});

test('a unit without a place runs nothing, and has nothing to remove', async () => {
  await expect(places().command('gha-9', 'runner', ['agent'])).rejects.toThrow('has no place');
  expect(await places().close('gha-9')).toEqual([]);
});
