import { spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute } from '../child-process.ts';
import { isAlive, startTime } from '../processes.ts';

/** How long a program that was told to end may take to do so, in milliseconds. */
const GRACE_MS = 10_000;

/** How the programs of one warming run are run. */
export type RunPrograms = {
  /** Directory of the runner's state: which process is at work is written there. Undefined: somebody else looks after this one. */
  state: string | undefined;
  /** Whose rights the programs have; undefined: those of aw-runner, which is root. */
  user: string | undefined;
  env: Record<string, string>;
  signal: AbortSignal;
  log(line: string): void;
};

/**
 * Runs one program of a warming run to its end, in a process group of its own, its output on ours. A run that is stopped
 * takes the whole group with it.
 *
 * @throws if it cannot be run, exits with anything but 0, or `signal` ends it
 */
export async function runProgram(argv: readonly string[], cwd: string, run: RunPrograms): Promise<void> {
  run.signal.throwIfAborted();
  const { argv: started, env } = await asUser(argv, run.user);
  const [program = '', ...args] = started;
  run.log(`warming: ${argv.join(' ')}`);
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
    if (pid !== undefined && run.state !== undefined) await remember(run.state, pid);
    const code = await ended;
    run.signal.throwIfAborted();
    if (code !== 0) throw new Error(`${argv[0]} ended with ${code}`);
  } finally {
    run.signal.removeEventListener('abort', stop);
    if (run.state !== undefined) await rm(file(run.state), { force: true });
  }
}

/**
 * Ends what a run before has left at work: systemd kills aw-runner alone (`KillMode=process`), and two programs must not
 * change one warm tree.
 */
export async function endLeftOver(state: string, log: (line: string) => void): Promise<void> {
  const saved = await readFile(file(state), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const [pid = '', started = ''] = saved.split(' ');
  if (pid !== '' && (await startTime(Number(pid))) === started) {
    log(`outcome the warming command that an earlier start left, process ${pid}`);
    await endGroup(Number(pid));
  }
  await rm(file(state), { force: true });
}

const file = (state: string) => join(state, 'warming.pid');

async function remember(state: string, pid: number): Promise<void> {
  await mkdir(state, { recursive: true });
  await writeFile(file(state), `${pid} ${(await startTime(pid)) ?? ''}`);
}

/** Asks a process group to end, and makes it after a while. */
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
    // Nobody is left.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** `runuser` sets groups and limits as a login would, but leaves the environment alone. */
async function asUser(argv: readonly string[], user: string | undefined) {
  if (user === undefined) return { argv, env: {} };
  const entry = await execute('getent', ['passwd', user]).catch((cause: unknown) => {
    throw new Error(`there is no user ${user}`, { cause });
  });
  const home = entry.split(':')[5] ?? '/';
  return { argv: ['runuser', '-u', user, '--', ...argv], env: { HOME: home, USER: user, LOGNAME: user } };
}
