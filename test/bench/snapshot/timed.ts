import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** What one run of a program came to. */
export type Timed = {
  seconds: number;
  /** The most memory that the program itself ever had resident, in bytes, and the same of all that it has started. */
  peakBytes: number;
  peakBytesOfChildren: number;
  output: string;
};

/** Interval of reading a process's peak memory, in milliseconds. The kernel keeps the peak, so only the last value counts. */
const LOOK_MS = 10;

/** Runs a program to its end, with the clock on and an eye on its memory. @throws if it fails */
export async function timed(
  program: string,
  args: readonly string[],
  env: Record<string, string | undefined> = {},
): Promise<Timed> {
  const began = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (output += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (complaints += piece));
  const peaks = { own: 0, children: 0 };
  const { pid } = child;
  const timer = setInterval(() => {
    if (pid === undefined) return;
    peaks.own = Math.max(peaks.own, peakOf(pid));
    for (const one of childrenOf(pid)) peaks.children = Math.max(peaks.children, peakOf(one));
  }, LOOK_MS);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    const seconds = (performance.now() - began) / 1000;
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${complaints}`);
    return { seconds, peakBytes: peaks.own, peakBytesOfChildren: peaks.children, output };
  } finally {
    clearInterval(timer);
  }
}

/** A line of the shell, whose pipes may not hide a failure. */
export function timedShell(line: string): Promise<Timed> {
  return timed('bash', ['-c', `set -euo pipefail; ${line}`]);
}

/** Field VmHWM of /proc/<pid>/status: the largest resident size so far (proc(5)). */
function peakOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // It has ended meanwhile.
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}
