import type { GroupState, QueuedJob } from './backlog.ts';

/** The queued jobs of each group, by its id, and those that no group can run. */
export type Assignment = {
  byGroup: ReadonlyMap<string, readonly QueuedJob[]>;
  unrunnable: readonly QueuedJob[];
};

/**
 * Counts each queued job for exactly one group: of those whose labels contain all labels of the job, the one with the fewest
 * further labels, then the first by name. A group takes jobs until its maximum is reached, and the next one takes the rest; at
 * the maximum of all, the first choice keeps the job. Two groups that could both run a job never both grow for it.
 *
 */
export function assignJobs(
  jobs: readonly QueuedJob[],
  groups: readonly Pick<GroupState, 'id' | 'labels' | 'max' | 'running'>[],
): Assignment {
  const byGroup = new Map<string, QueuedJob[]>(groups.map(({ id }) => [id, []]));
  const room = new Map(groups.map(({ id, max, running }) => [id, Math.max(0, max - running)]));
  const ordered = groups
    .map((group) => ({ ...group, set: new Set(group.labels) }))
    .sort((a, b) => a.set.size - b.set.size || (a.id < b.id ? -1 : 1));
  const unrunnable: QueuedJob[] = [];
  // The oldest job first, so that the same jobs have the same groups in the next read.
  const byAge = [...jobs].sort((a, b) => a.since - b.since || (a.id < b.id ? -1 : 1));
  for (const job of byAge) {
    const fitting = ordered.filter(({ set }) => job.labels.every((label) => set.has(label)));
    const chosen = fitting.find(({ id }) => (room.get(id) ?? 0) > 0) ?? fitting[0];
    if (!chosen) {
      unrunnable.push(job);
      continue;
    }
    byGroup.get(chosen.id)?.push(job);
    room.set(chosen.id, Math.max(0, (room.get(chosen.id) ?? 0) - 1));
  }
  return { byGroup, unrunnable };
}
