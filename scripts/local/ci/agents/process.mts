import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the programs of this folder share. They run as they are: they may import only Node and each other. */

/** Gives the process the name that the real program has in `/proc/<pid>/comm`. */
export function nameProcess(name: string): void {
  try {
    writeFileSync('/proc/self/comm', name);
  } catch {
    // Without /proc the process keeps the name of its program.
  }
}

/** How a command ended. */
export type Exit = { code: number | null; signal: NodeJS.Signals | null };

/** Output that still comes this long after the end of a command belongs to it. What it left running may keep the pipe open. */
const DRAIN_MS = 500;

/** Runs a program and passes its output on. It cannot start: code 127. */
export function run(
  [program = '', ...args]: readonly string[],
  options: { cwd?: string; env: NodeJS.ProcessEnv; input?: string; detached?: boolean },
  output: (text: string) => void,
): { child: ChildProcess; exit: Promise<Exit> } {
  const child = spawn(program, args, {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: options.env,
    detached: options.detached ?? false,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const exit = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      output(`${error.message}\n`);
      resolve({ code: 127, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', output);
  if (options.input !== undefined && child.stdin) {
    // The command may end without having read it.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
  }
  return {
    child,
    exit: exit.then(async (ended) => {
      await Promise.race([closed, sleep(DRAIN_MS, undefined, { ref: false })]);
      child.stdout?.destroy();
      child.stderr?.destroy();
      return ended;
    }),
  };
}

/** Sends a signal to a process or, with a negative number, to its group. One that has ended is no error. */
export function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Processes that run now (Linux only; elsewhere none). */
export function processes(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** The process and everything below it, children first. */
export function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const candidate of processes()) {
    const parent = parentOf(candidate);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), candidate]);
  }
  const collect = (root: number): number[] => [...(children.get(root) ?? []).flatMap(collect), root];
  return collect(pid);
}

function parentOf(pid: number): number | undefined {
  try {
    // The name in parentheses may contain spaces and parentheses.
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** Whether the initial environment of a process has `entry` (`NAME=value`). Foreign processes cannot be read: false. */
export function hasInEnvironment(pid: number, entry: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry);
  } catch {
    return false;
  }
}

/**
 * Repeats a request until it is answered with less than 500 and not with 429.
 *
 * @returns the last answer, or undefined if the time is over
 */
export async function persist(
  send: () => Promise<Response>,
  seconds: number,
  aborted?: AbortSignal,
): Promise<Response | undefined> {
  const end = performance.now() + seconds * 1000;
  for (let wait = 100; ; wait = Math.min(wait * 2, 2_000)) {
    try {
      const response = await send();
      if (response.status < 500 && response.status !== 429) return response;
      await response.arrayBuffer();
    } catch (error) {
      if (!isNetworkError(error)) throw error;
    }
    if (aborted?.aborted || performance.now() + wait > end) return undefined;
    await sleep(wait);
  }
}

/** Whether a request failed for its connection or its time limit, and not for a mistake of the program. */
export function isNetworkError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error.name === 'AbortError' ||
    error.name === 'TimeoutError' ||
    error.message === 'fetch failed' ||
    error.message === 'terminated'
  );
}
