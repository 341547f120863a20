import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, processes } from '../processes.ts';

/** How long a server may take to write what it holds and go, in milliseconds. */
const GRACE_MS = 60_000;

/** A Bazel server names its output base in its arguments, whatever started it. */
const OUTPUT_BASE = '--output_base=';

/** Process ids of the Bazel servers whose output base is in a directory. */
export async function bazelServers(directory: string): Promise<number[]> {
  return (await processes())
    .filter(({ argv }) => argv.some((argument) => argument.startsWith(`${OUTPUT_BASE}${directory}/`)))
    .map(({ pid }) => pid);
}

/**
 * Ends every Bazel server that works in a directory, so that nothing there changes any more. A set's own command may have
 * used any Bazel with any options, and `bazel shutdown` with others would start a second server: so they are asked by
 * SIGTERM, on which a server writes what it holds and goes.
 *
 * @throws if one had to be killed: its output base is not to be saved
 */
export async function endBazelServers(directory: string, graceMs = GRACE_MS): Promise<void> {
  const servers = await bazelServers(directory);
  for (const pid of servers) signal(pid, 'SIGTERM');
  const until = performance.now() + graceMs;
  for (const pid of servers) while ((await isAlive(pid)) && performance.now() < until) await sleep(50);
  const killed: number[] = [];
  for (const pid of servers) {
    if (!(await isAlive(pid))) continue;
    signal(pid, 'SIGKILL');
    killed.push(pid);
  }
  if (killed.length > 0) {
    throw new Error(
      `Bazel server ${killed.join(', ')} in ${directory} did not end within ${graceMs / 1000} s and was killed`,
    );
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
