import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** A program that runs on an instance, in a process group of its own. */
export type InstanceProcess = {
  /** Fulfilled when it has ended: its exit code, or null after a signal. */
  ended: Promise<number | null>;
  /** Ends the program alone, at once, as a crash does: what it started lives on. */
  crash(): void;
  /** Ends it and everything that it started, at once. */
  kill(): Promise<void>;
};

/**
 * @param options.logFile gets everything that it prints, appended
 * @param options.onLine called with each printed line
 */
export function startProcess(
  program: string,
  args: readonly string[],
  options: { cwd: string; env: Record<string, string>; logFile: string; onLine: (line: string) => void },
): InstanceProcess {
  const child = spawn(program, [...args], {
    cwd: options.cwd,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const log = createWriteStream(options.logFile, { flags: 'a' });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      options.onLine(line);
    });
  }
  child.once('close', () => log.end());
  // Not `close`: what the program started may live on and hold its output open, as an agent with a job does.
  const ended = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null);
  return {
    ended,
    crash() {
      child.kill('SIGKILL');
    },
    async kill() {
      killGroup(child);
      await ended.catch(() => null);
    },
  };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
