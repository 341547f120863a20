import type { QueuedJob } from '../../shared/ci/backlog.ts';

/**
 * Time after which a job that is queued beside an idle runner counts as unmatched, in milliseconds. A provider assigns a job within
 * seconds. Work that idle runners leave for minutes is not for them: the repository has no access to the runner group, or a limit
 * of concurrency holds it. Another runner of the same kind would stand beside it too, and idle out, and be launched again.
 */
export const UNMATCHED_MS = 3 * 60_000;

/**
 * The queued jobs of a group that runners of it do not get. A job that is unmatched once stays so as long as it is queued: the runner
 * beside it idles out, and without this memory another one would be launched for it.
 *
 * @param before ids of the jobs that were unmatched in the read before
 * @param queued the jobs that count for the group now
 * @param running ids of the jobs that run on its instances
 * @param idleForMs how long a registered runner of the group has been without a job; 0 if none is known to be
 * @param now milliseconds since 1970
 */
export function unmatchedJobs(
  before: readonly string[],
  queued: readonly QueuedJob[],
  running: ReadonlySet<string>,
  idleForMs: number,
  now: number,
): string[] {
  // One of them got a runner after all, for example at the end of an outage of the provider: nothing is known about the others.
  const known = new Set(before.some((id) => running.has(id)) ? [] : before);
  const isBesideIdle = idleForMs >= UNMATCHED_MS;
  return queued
    .filter(({ id, since }) => known.has(id) || (isBesideIdle && now - since >= UNMATCHED_MS))
    .map(({ id }) => id);
}
