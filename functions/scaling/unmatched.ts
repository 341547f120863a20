import type { QueuedJob } from '../../shared/ci/backlog.ts';

/**
 * Time after which a job that is queued beside an idle runner counts as unmatched, in milliseconds. A provider assigns a job within
 * seconds. Work that idle runners leave for minutes is not for them: the repository has no access to the runner group, or a limit
 * of concurrency holds it. Another runner of the same kind would stand beside it too, and idle out, and be launched again.
 */
export const UNMATCHED_MS = 3 * 60_000;

/**
 * Time after which one unmatched job counts again, in milliseconds. What held it can have ended when the group had no runner left to
 * show it: an outage of the provider that ends, or a limit that is raised. If it has not, the group has one idle runner per trial.
 */
export const TRIAL_MS = 30 * 60_000;

/** What is known about the unmatched jobs of a group, from one read to the next. */
export type Unmatched = {
  /** Ids of the jobs that do not count. */
  ids: readonly string[];
  /** Since when they do not, or when one of them counted last; milliseconds since 1970. */
  since?: number | undefined;
  /** The job that counts as a trial. */
  trial?: string | undefined;
};

/** What one read shows of a group. */
type Read = {
  /** The jobs that count for the group, in any order. */
  queued: readonly QueuedJob[];
  /** Ids of the jobs that run on its instances, as far as they are known. */
  running: ReadonlySet<string>;
  /** Whether jobs were taken from its queue since the read before, where no ids are known. */
  isProgress: boolean;
  /** How long registered runners of the group have been without a job since a moment, in milliseconds; 0 if none is known to be. */
  idleMs: (since: number) => number;
  /** Whether an instance of the group is in service and without a job. */
  hasIdle: boolean;
};

/**
 * The queued jobs of a group that runners of it do not get. A job that is unmatched once stays so as long as it is queued: the runner
 * beside it idles out, and without this memory another one would be launched for it at once.
 *
 * @param now milliseconds since 1970
 */
export function unmatchedJobs(before: Unmatched, read: Read, now: number): Unmatched {
  const { queued, running, isProgress, idleMs, hasIdle } = read;
  // One of them got a runner after all, for example at the end of an outage of the provider: nothing is known about the others.
  const isRefuted = isProgress || [...before.ids, before.trial ?? ''].some((id) => running.has(id));
  const known = new Set(isRefuted ? [] : before.ids);
  const jobs = queued.filter(
    ({ id, since }) => known.has(id) || (now - since >= UNMATCHED_MS && idleMs(since) >= UNMATCHED_MS),
  );
  const ids = jobs.map(({ id }) => id);
  const trial = queued.some(({ id }) => id === before.trial) && !isRefuted ? before.trial : undefined;
  if (ids.length === 0) return { ids, trial };
  const since = known.size > 0 ? (before.since ?? now) : now;
  if (hasIdle || now - since < TRIAL_MS) return { ids, since, trial };
  const oldest = jobs.reduce((a, b) => (b.since < a.since ? b : a)).id;
  return { ids: ids.filter((id) => id !== oldest), since: now, trial: oldest };
}
