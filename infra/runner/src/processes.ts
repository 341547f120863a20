import { readdir, readFile } from 'node:fs/promises';

/** Identifies one process although the kernel reuses pids. */
export type ProcessIdentity = { pid: number; startTime: string };

/** A running process, with its arguments. */
export type RunningProcess = ProcessIdentity & { argv: string[] };

/** All processes with arguments: kernel threads and zombies have none. Empty on systems other than Linux. */
export async function processes(): Promise<RunningProcess[]> {
  const names = await gone(readdir('/proc'));
  const pids = (names ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  return (await Promise.all(pids.map(processOf))).filter((found) => found !== undefined);
}

/** The start time is read before and after the arguments, so that both are of one process. */
async function processOf(pid: number): Promise<RunningProcess | undefined> {
  const identity = await identify(pid);
  const argv = await argvOf(pid);
  if (!identity || argv.length === 0 || !(await isSameProcess(identity))) return undefined;
  return { ...identity, argv };
}

/** The arguments of a process; none for a kernel thread, a zombie, or a process that has ended. */
async function argvOf(pid: number): Promise<string[]> {
  const line = (await gone(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '';
  return line === '' ? [] : line.split('\0');
}

/** The processes among `pids` whose parent is `parent`. */
export async function childrenOf(parent: number, pids: readonly number[]): Promise<RunningProcess[]> {
  const found = await Promise.all(
    pids.map(async (pid) => {
      const fields = await statFields(pid);
      if (Number(fields?.[1]) !== parent) return [];
      return [{ pid, startTime: fields?.[19] ?? '', argv: await argvOf(pid) }];
    }),
  );
  return found.flat();
}

/** The id of a process in the PID namespace that it was created in; undefined if there is no such process. */
export async function pidInNamespace(pid: number): Promise<number | undefined> {
  const status = (await gone(readFile(`/proc/${pid}/status`, 'utf8'))) ?? '';
  const ids = /^NSpid:\s+(.+)$/m.exec(status)?.[1]?.split('\t');
  return ids && Number(ids.at(-1));
}

/** Field 22 of `/proc/<pid>/stat`: clock ticks after boot (proc(5)). Undefined if there is no such process, or it is a zombie. */
export async function startTime(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return isRunning(pid) ? 'unknown' : undefined;
  return (await statFields(pid))?.[19];
}

/** The fields of `/proc/<pid>/stat` from the third one on (proc(5)); undefined if there is no such process, or it is a zombie. */
async function statFields(pid: number): Promise<string[] | undefined> {
  const text = await gone(readFile(`/proc/${pid}/stat`, 'utf8'));
  // The second field is the program's name in parentheses; it can contain any character.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields;
}

/** On other systems, which are laptops only, the pid alone identifies a process. */
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

/** Undefined if there is no such process. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const started = await startTime(pid);
  return started === undefined ? undefined : { pid, startTime: started };
}

export async function isSameProcess(process: ProcessIdentity): Promise<boolean> {
  return (await startTime(process.pid)) === process.startTime;
}

/**
 * Sends a signal to this process, and never to another one that has its pid by now.
 *
 * @returns whether the process was still there
 */
export async function signalProcess(target: ProcessIdentity, name: NodeJS.Signals): Promise<boolean> {
  if (!(await isSameProcess(target))) return false;
  try {
    process.kill(target.pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/** The result, or undefined if the process has ended meanwhile. */
async function gone<T>(reading: Promise<T>): Promise<T | undefined> {
  return reading.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  });
}
