import { readdir, readFile } from 'node:fs/promises';
import { spawnText } from './spawn-text.ts';

/** A process of this machine. */
export type RunningProcess = {
  pid: number;
  /** Process group. */
  group: number;
  command: string;
  /** Its value of `RUN_VARIABLE`, where the system shows it. */
  run: string | undefined;
};

/** Environment variable by which the cleanup finds child processes regardless of their command line. */
export const RUN_VARIABLE = 'HEARTH_LOCAL_RUN';

/** Every process that this user may see, with its whole command line. */
export async function runningProcesses(): Promise<RunningProcess[]> {
  return process.platform === 'linux' ? fromProc() : fromPs();
}

async function fromProc(): Promise<RunningProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map(async (pid) => readProc(Number(pid))));
  return found.filter(({ command }) => command !== '');
}

async function readProc(pid: number): Promise<RunningProcess> {
  // A process that ends in between has no files any more; another user's environment cannot be read.
  const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  const [command, environment, stat] = await Promise.all([read('cmdline'), read('environ'), read('stat')]);
  const run = environment.split('\0').find((entry) => entry.startsWith(`${RUN_VARIABLE}=`));
  // Field 5 of proc_pid_stat(5), the third after the name of the program.
  const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
  return { pid, group, command: command.replaceAll('\0', ' '), run: run?.slice(RUN_VARIABLE.length + 1) };
}

async function fromPs(): Promise<RunningProcess[]> {
  const text = await spawnText('ps', ['-A', '-ww', '-o', 'pid=,pgid=,command=']);
  return text.split('\n').flatMap((line) => {
    const [, pid, group, command] = /^\s*(\d+)\s+(\d+) (.*)$/.exec(line) ?? [];
    return pid && command ? [{ pid: Number(pid), group: Number(group), command, run: undefined }] : [];
  });
}

/** Mount points below `folder`, innermost and latest first: the order in which they can be unmounted. */
export async function mountsBelow(folder: string): Promise<string[]> {
  if (process.platform !== 'linux') return [];
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).trim().split('\n');
  // The fifth field is the mount point, with blanks and backslashes in octal (proc(5)).
  const points = lines.map((line) => unescapeOctal(line.split(' ')[4] ?? ''));
  return points.filter((point) => point.startsWith(`${folder}/`)).reverse();
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
