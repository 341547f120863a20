import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cleanRun } from './clean.ts';
import { spawnText } from './spawn-text.ts';

/**
 * Makes `.local/run/<pid>`, after removing what runs left behind whose process is gone. Everything that a cloud writes
 * is in there, and everything that it starts has this path in its command line or environment.
 *
 * @throws if this process has a run folder already
 */
export async function openRunFolder(root: string): Promise<string> {
  await cleanAbandonedRuns(root);
  const path = runFolder(root);
  await mkdir(dirname(path), { recursive: true });
  await mkdir(path).catch((cause: unknown) => {
    throw new Error(`${path} is in use: a process can have one local cloud at a time`, { cause });
  });
  await writeFile(join(path, 'owner'), (await startOf(process.pid)) ?? '');
  return path;
}

/** This process's own. */
export function runFolder(root: string): string {
  return join(root, '.local/run', String(process.pid));
}

/** Folders of runs whose process is still there, newest last. */
export async function liveRuns(root: string): Promise<string[]> {
  const live: string[] = [];
  for (const { path, alive } of await runs(root)) if (alive) live.push(path);
  return live;
}

async function cleanAbandonedRuns(root: string): Promise<void> {
  for (const { path, alive } of await runs(root)) if (!alive) await cleanRun(path);
}

async function runs(root: string): Promise<{ path: string; alive: boolean }[]> {
  const parent = join(root, '.local/run');
  const names = await readdir(parent).catch(() => []);
  const pids = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b));
  return Promise.all(
    pids.map(async (pid) => {
      const path = join(parent, pid);
      const owner = await readFile(join(path, 'owner'), 'utf8').catch(() => undefined);
      return { path, alive: owner !== undefined && owner === (await startOf(Number(pid))) };
    }),
  );
}

/** Start time of a process in the format of the system, or undefined after its end. Distinguishes two uses of one pid. */
async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return spawnText('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => undefined);
  }
  try {
    // Field 22 of proc_pid_stat(5); the second field, the command, may itself hold blanks and parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
