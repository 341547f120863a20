import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A program that a test runs: its output so far, and its end. */
export type Program = {
  child: ChildProcess;
  output(): string;
  /** The exit code, or the signal that ended it. */
  exit: Promise<number | NodeJS.Signals>;
  kill(signal: NodeJS.Signals): void;
};

/** Longest wait for the rest of the output of a program that has ended, in milliseconds. */
const OUTPUT_MS = 5_000;

const started = new Set<ChildProcess>();
const folders = new Set<string>();

/** Starts a program. `endPrograms` kills it at the latest. */
export function startProgram(
  path: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Program {
  const child = spawn(path, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  started.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const exit = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', (error) => {
      started.delete(child);
      reject(error);
    });
    child.once('exit', (code, signal) => {
      started.delete(child);
      // Its last output can still be on its way. What it left running may keep the pipes open.
      const ended = () => resolve(code ?? signal ?? -1);
      const late = setTimeout(ended, OUTPUT_MS);
      child.once('close', () => {
        clearTimeout(late);
        ended();
      });
    });
  });
  return { child, output: () => output, exit, kill: (signal) => void child.kill(signal) };
}

/** A new folder, removed by `endPrograms`. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-ci-'));
  folders.add(folder);
  return folder;
}

/** To be called after each test. */
export async function endPrograms(): Promise<void> {
  const ended = [...started].map((child) => new Promise((resolve) => child.once('exit', resolve)));
  for (const child of started) child.kill('SIGKILL');
  await Promise.all(ended);
  // What a program has started can still write for a moment.
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  folders.clear();
}

/** Longest wait of `until`, in milliseconds: it only ends what hangs. */
const UNTIL_MS = 300_000;

/** Waits for a condition. @throws with `what` after five minutes. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + UNTIL_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether a process runs. A zombie does not (Linux only). */
export function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Sends a signal to a process. One that has ended is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Child processes of a process, of all its threads (Linux only). */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}
