import { mkdir, readFile, rename, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Exit codes of Bazel that speak of the machine and not of the build: 36 is a failure of its environment, 37 an error inside
 * of Bazel itself (Bazel documentation, "What exit codes"). Wrappers retry before they report one.
 */
const BROKEN_MACHINE = new Map([
  [36, 'Bazel exit 36: the environment failed'],
  [37, 'Bazel exit 37: Bazel itself failed'],
]);

/** Below this share of free space the next job would fail for a reason that is not its own. */
const LEAST_FREE = 0.02;

/**
 * The job hook's word about the job that has just ended: writes the mark that `watch` reports.
 *
 * @returns why the machine is unhealthy, or undefined if it is well
 */
export async function jobFinished(state: string, exitCode: number): Promise<string | undefined> {
  const reason = BROKEN_MACHINE.get(exitCode);
  if (reason !== undefined) await markUnhealthy(state, reason);
  return reason;
}

export async function markUnhealthy(state: string, reason: string): Promise<void> {
  await mkdir(state, { recursive: true });
  await writeFile(`${file(state)}.new`, reason);
  await rename(`${file(state)}.new`, file(state));
}

/** Why no further job should run on this machine, or undefined. */
export async function healthProblem(state: string, disk: string): Promise<string | undefined> {
  const marked = await readFile(file(state), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (marked !== undefined) return marked;
  const { blocks, bavail } = await statfs(disk);
  if (blocks > 0 && bavail / blocks < LEAST_FREE) {
    return `disk full: ${((bavail / blocks) * 100).toFixed(1)} % free at ${disk}`;
  }
  return undefined;
}

function file(state: string): string {
  return join(state, 'unhealthy');
}
