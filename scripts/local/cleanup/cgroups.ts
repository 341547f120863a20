import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Time for the kernel to end every process of a cgroup, in milliseconds. */
const KILL_MS = 5_000;

let mountPoint: Promise<string | undefined> | undefined;

/**
 * The cgroup (version 2) of a folder of a run: one tree of cgroups has the shape of `.local/run`, so that the cleanup finds them
 * without a record. Undefined where this user can make none.
 */
export async function cgroupOf(folder: string): Promise<string | undefined> {
  mountPoint ??= findMountPoint();
  const root = await mountPoint;
  const below = folder.split('/.local/run/')[1];
  return root === undefined || below === undefined ? undefined : join(root, 'hearth-local', below);
}

/** Every process in a cgroup and below it; none if it does not exist. */
export async function processesIn(cgroup: string): Promise<number[]> {
  const texts = await Promise.all(
    (await tree(cgroup)).map((path) => readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '')),
  );
  return texts.flatMap((text) => text.split('\n').filter(Boolean).map(Number));
}

/** Ends every process in a cgroup and below it, whatever their parents and environments are, and removes the cgroups. */
export async function removeCgroup(cgroup: string): Promise<void> {
  const end = performance.now() + KILL_MS;
  for (;;) {
    await writeFile(join(cgroup, 'cgroup.kill'), '1').catch(ignoreMissing);
    const left = await tree(cgroup);
    // Innermost first. A cgroup with a process cannot be removed.
    for (const path of left.reverse()) await rmdir(path).catch(() => undefined);
    if ((await tree(cgroup)).length === 0) return;
    if (performance.now() > end) throw new Error(`the cgroup ${cgroup} cannot be removed`);
    await sleep(20);
  }
}

export async function makeCgroup(cgroup: string): Promise<void> {
  await mkdir(cgroup, { recursive: true });
}

async function tree(cgroup: string): Promise<string[]> {
  const entries = await readdir(cgroup, { recursive: true, withFileTypes: true }).catch(ignoreMissing);
  if (!entries) return [];
  const below = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  return [cgroup, ...below];
}

async function findMountPoint(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  // `… <mount point> <options> … - cgroup2 …` (proc(5)).
  const point = lines.find((line) => line.includes(' - cgroup2 '))?.split(' ')[4];
  if (point === undefined) return undefined;
  const probe = join(point, 'hearth-local', `probe-${process.pid}`);
  try {
    await mkdir(probe, { recursive: true });
    await rmdir(probe);
    return point;
  } catch {
    // Mounted read-only, as in most containers.
    return undefined;
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENODEV') throw error;
}
