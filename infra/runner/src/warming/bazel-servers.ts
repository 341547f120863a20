import { setTimeout as sleep } from 'node:timers/promises';
import { isSameProcess, type ProcessIdentity, processes, signalProcess } from '../processes.ts';

/** Time for a server to write its state and exit, in milliseconds. */
const GRACE_MS = 60_000;

/** A Bazel server has its output base in its arguments, whichever client starts it. */
const OUTPUT_BASE = '--output_base=';

/** The Bazel servers whose output base is in a directory. */
export async function bazelServers(directory: string): Promise<ProcessIdentity[]> {
  return (await processes()).filter(({ argv }) =>
    argv.some((argument) => argument.startsWith(`${OUTPUT_BASE}${directory}/`)),
  );
}

/**
 * Stops every Bazel server that uses a directory, so that nothing there changes any more. The command of a set may use any
 * Bazel with any options, and `bazel shutdown` with other options would start a second server. SIGTERM makes a server write
 * its state and exit.
 *
 * @throws if one had to be killed: its output base must not be saved
 */
export async function endBazelServers(directory: string, graceMs = GRACE_MS): Promise<void> {
  const servers = await bazelServers(directory);
  for (const server of servers) await signalProcess(server, 'SIGTERM');
  const until = performance.now() + graceMs;
  for (const server of servers)
    while ((await isSameProcess(server)) && performance.now() < until) await sleep(50);
  const killed: number[] = [];
  for (const server of servers) {
    if (await signalProcess(server, 'SIGKILL')) killed.push(server.pid);
  }
  if (killed.length > 0) {
    throw new Error(
      `Bazel server ${killed.join(', ')} in ${directory} did not end within ${graceMs / 1000} s and was killed`,
    );
  }
}
