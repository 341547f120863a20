import type { StatsFs } from 'node:fs';
import { mkdir, readFile, rename, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorText } from '../../../shared/runtime/errors.ts';
import { isDiskError } from './disk-error.ts';

/**
 * Exit codes of Bazel that concern the instance and not the build: 36 is a failure of its environment, 37 an internal error of
 * Bazel (Bazel documentation, "What exit codes"). Wrappers retry before they report one.
 */
const INSTANCE_FAULTS = new Map([
  [36, 'Bazel exit 36: the environment failed'],
  [37, 'Bazel exit 37: Bazel itself failed'],
]);

/** Below this share of free space or free inodes the next job would fail for a reason that is not its own. */
const LEAST_FREE = 0.02;

/** The health of the instance. */
export interface Health {
  /** Why no further job should run on this instance, or undefined. */
  problem(): Promise<string | undefined>;
  /** Marks the instance unhealthy until it is replaced, also if the disk does not take the mark. */
  mark(reason: string): Promise<void>;
}

/**
 * @param state directory of the runner's state
 * @param disks paths on the disks to watch; a path does not need to exist yet
 */
export function instanceHealth(state: string, disks: readonly string[], log: (line: string) => void): Health {
  let marked: string | undefined;
  return {
    problem: async () => marked ?? healthProblem(state, disks),
    async mark(reason) {
      marked = reason;
      await markUnhealthy(state, reason).catch((error: unknown) => {
        if (!isDiskError(error)) throw error;
        log(`the mark of an unhealthy instance cannot be written: ${errorText(error)}`);
      });
    },
  };
}

/**
 * Evaluates the exit code of a job that has just ended and writes the mark that `watch` reports.
 *
 * @returns why the instance is unhealthy, or undefined
 */
export async function jobFinished(state: string, exitCode: number): Promise<string | undefined> {
  const reason = INSTANCE_FAULTS.get(exitCode);
  if (reason !== undefined) await markUnhealthy(state, reason);
  return reason;
}

export async function markUnhealthy(state: string, reason: string): Promise<void> {
  await mkdir(state, { recursive: true });
  await writeFile(`${file(state)}.new`, reason);
  await rename(`${file(state)}.new`, file(state));
}

/** Why no further job should run on this instance, or undefined. */
export async function healthProblem(state: string, disks: readonly string[]): Promise<string | undefined> {
  const marked = await readFile(file(state), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (marked !== undefined) return marked;
  for (const disk of disks) {
    const { blocks, bavail, files, ffree } = await nearestStatfs(disk);
    if (blocks > 0 && bavail / blocks < LEAST_FREE)
      return `disk full: ${percent(bavail / blocks)} free at ${disk}`;
    // Some file systems have no fixed number of inodes and report 0.
    if (files > 0 && ffree / files < LEAST_FREE)
      return `disk full: ${percent(ffree / files)} of the inodes free at ${disk}`;
  }
  return undefined;
}

/** Of the path or of its nearest existing parent: the restore creates its directories late, and some groups have none. */
async function nearestStatfs(path: string): Promise<StatsFs> {
  try {
    return await statfs(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    return nearestStatfs(dirname(path));
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function file(state: string): string {
  return join(state, 'unhealthy');
}
