import { spawn } from 'node:child_process';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute } from '../child-process.ts';
import { isAlive } from '../processes.ts';

/** Time between SIGTERM and SIGKILL, in milliseconds. */
const GRACE_MS = 10_000;

/** Settings for programs that an operator runs by hand. */
export type RunPrograms = {
  /** User that the programs run as. */
  user: string;
  env: Record<string, string>;
  signal: AbortSignal;
  log(line: string): void;
};

/**
 * Runs one program to its end, in its own process group, with the output of aw-runner. A run that is stopped ends the whole group.
 *
 * @throws if it cannot be run, exits with another code than 0, or `signal` ends it
 */
export async function runProgram(argv: readonly string[], cwd: string, run: RunPrograms): Promise<void> {
  run.signal.throwIfAborted();
  const { argv: started, env } = await asUser(argv, run.user);
  const [program = '', ...args] = started;
  // Arguments can hold what no log may hold.
  run.log(`warming: ${argv[0]} with ${argv.length - 1} arguments`);
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env, ...run.env },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${argv[0]} did not run: ${error.message}`)));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  });
  const { pid } = child;
  const stop = () => pid !== undefined && void endGroup(pid);
  run.signal.addEventListener('abort', stop, { once: true });
  try {
    const code = await ended;
    run.signal.throwIfAborted();
    if (code !== 0) throw new Error(`${argv[0]} ended with ${code}`);
  } finally {
    run.signal.removeEventListener('abort', stop);
  }
}

/** Ends a process group: SIGTERM, then SIGKILL. */
async function endGroup(leader: number): Promise<void> {
  kill(-leader, 'SIGTERM');
  const until = performance.now() + GRACE_MS;
  while ((await isAlive(leader)) && performance.now() < until) await sleep(50);
  kill(-leader, 'SIGKILL');
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // The group has ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** `runuser` sets groups and limits as a login does, and does not change the environment. */
async function asUser(argv: readonly string[], user: string) {
  if (userInfo().username === user) return { argv, env: {} };
  const entry = await execute('getent', ['passwd', user]).catch((cause: unknown) => {
    throw new Error(`there is no user ${user}`, { cause });
  });
  const home = entry.split(':')[5] ?? '/';
  return { argv: ['runuser', '-u', user, '--', ...argv], env: { HOME: home, USER: user, LOGNAME: user } };
}
