import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cleanRun, startedFor } from './clean.ts';
import { liveRuns, openRunFolder } from './run-folder.ts';

let root: string;
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'hearth-cleanup-')));
});
afterEach(() => rm(root, { recursive: true }));

/** A process that does nothing but have `folder` in its command line. */
async function startFor(folder: string) {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', `${folder}/`]);
  await once(child, 'spawn');
  return { child, ended: once(child, 'exit') };
}

test('ends what was started for a run and removes its folder, and touches nothing else', async () => {
  const run = join(root, '12');
  const other = join(root, '123');
  for (const folder of [run, other]) await mkdir(join(folder, 'deep'), { recursive: true });
  const mine = await startFor(run);
  const theirs = await startFor(other);
  await cleanRun(run);
  expect(await mine.ended).toEqual([null, 'SIGKILL']);
  expect(existsSync(run)).toBe(false);
  expect(await startedFor(other)).toHaveLength(1);
  theirs.child.kill('SIGKILL');
  await theirs.ended;
});

test('a new run removes what dead ones left', async () => {
  const runs = join(root, '.local/run');
  await mkdir(runs, { recursive: true });
  // The pid of this process, but of another one before it: started at another time.
  const reused = join(runs, String(process.ppid));
  await mkdir(reused);
  await writeFile(join(reused, 'owner'), 'long ago');
  // A run that ended before it wrote its owner.
  await mkdir(join(runs, '999999999'));
  const mine = await openRunFolder(root);
  expect(await liveRuns(root)).toEqual([mine]);
  expect(await readdir(runs)).toEqual([String(process.pid)]);
  await expect(openRunFolder(root)).rejects.toThrow(/one local cloud at a time/);
});
