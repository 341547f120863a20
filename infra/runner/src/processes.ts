import { readdir, readFile } from 'node:fs/promises';

/** What the kernel says of one process. */
export type ProcessFacts = { pid: number; argv: string[] };

/** All processes that still have arguments: kernel threads and the dead have none. Empty elsewhere than on Linux. */
export async function processes(): Promise<ProcessFacts[]> {
  const names = await gone(readdir('/proc'));
  const pids = (names ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => ({ pid, line: (await gone(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '' })),
  );
  return found.flatMap(({ pid, line }) => (line === '' ? [] : [{ pid, argv: line.split('\0') }]));
}

/** Field 22 of `/proc/<pid>/stat`: clock ticks after boot (proc(5)). Undefined if there is no such process, or it is dead. */
export async function startTime(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return isRunning(pid) ? 'unknown' : undefined;
  const text = await gone(readFile(`/proc/${pid}/stat`, 'utf8'));
  // The second field is the program's name, which may hold anything, in parentheses.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}

/** Elsewhere than on Linux, where only laptops run this, the pid alone has to do. */
function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export async function isAlive(pid: number): Promise<boolean> {
  return (await startTime(pid)) !== undefined;
}

/** What was read, or undefined if the process has gone meanwhile. */
async function gone<T>(reading: Promise<T>): Promise<T | undefined> {
  return reading.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  });
}
