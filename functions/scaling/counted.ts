import type { QueueCounts, QueuedJob } from '../../shared/ci/backlog.ts';
import type { ScalingDeps } from './ports.ts';

/**
 * Stands for the jobs of a queue that is only counted: each has its place as its id. The time of a place is when the queue was first
 * seen that long. It starts anew for all when the numbers show that jobs were taken, since the places are others then.
 *
 * @param queue the label of its groups
 * @returns the jobs, and whether jobs were taken since the read before
 */
export function countedJobs(
  source: string,
  queue: string,
  counts: QueueCounts,
  { memory, clock }: Pick<ScalingDeps, 'memory' | 'clock'>,
): { jobs: QueuedJob[]; isProgress: boolean } {
  const key = `${source} ${queue}`;
  const now = clock.now().getTime();
  const before = memory.counted.get(key);
  const isProgress =
    before !== undefined && (counts.queued < before.counts.queued || counts.running > before.counts.running);
  const known = isProgress ? [] : (before?.since ?? []);
  const since = Array.from({ length: counts.queued }, (_, place) => known[place] ?? now);
  memory.counted.set(key, { counts, since });
  const jobs = since.map((time, place) => ({
    id: `${queue}#${place}`,
    labels: [queue],
    workflow: [],
    since: time,
  }));
  return { jobs, isProgress };
}
