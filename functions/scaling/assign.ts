import type { QueuedJob } from '../../shared/ci/backlog.ts';

/** What decides whether a group takes a job. */
export type Candidate = {
  /** `<provider>/<name>`. */
  id: string;
  /** In lower case. */
  labels: readonly string[];
  /** Ids or file names of workflows; empty: all. */
  workflows: readonly string[];
  /** Queued jobs that the group has room for. */
  room: number;
  /** Ids of jobs that its runners do not get (`unmatched.ts`). */
  unmatched: ReadonlySet<string>;
};

/** The queued jobs of each group, by its id, and those that no group can run. */
export type Assignment = {
  byGroup: ReadonlyMap<string, readonly QueuedJob[]>;
  unrunnable: readonly QueuedJob[];
};

/**
 * Counts each queued job for exactly one group: of those whose labels contain all labels of the job, the one with the fewest
 * further labels, then the first by name. A group takes jobs until it has no room, and the next one takes the rest; if none has
 * room, the first choice keeps the job. Two groups that could both run a job never both grow for it.
 *
 * An unmatched job stays with the group that knows it, and takes no room: the jobs that the group launches runners for need it.
 */
export function assignJobs(jobs: readonly QueuedJob[], groups: readonly Candidate[]): Assignment {
  const byGroup = new Map<string, QueuedJob[]>(groups.map(({ id }) => [id, []]));
  const room = new Map(groups.map((group) => [group.id, group.room]));
  const ordered = groups
    .map((group) => ({ ...group, set: new Set(group.labels) }))
    .sort((a, b) => a.set.size - b.set.size || (a.id < b.id ? -1 : 1));
  const unrunnable: QueuedJob[] = [];
  // The oldest job first, so that the same jobs have the same groups in the next read.
  const byAge = [...jobs].sort((a, b) => a.since - b.since || (a.id < b.id ? -1 : 1));
  for (const job of byAge) {
    const fitting = ordered.filter(
      ({ set, workflows }) =>
        job.labels.every((label) => set.has(label)) &&
        (workflows.length === 0 || workflows.some((workflow) => job.workflow.includes(workflow))),
    );
    const knowing = fitting.find(({ unmatched }) => unmatched.has(job.id));
    if (knowing) {
      byGroup.get(knowing.id)?.push(job);
      continue;
    }
    const chosen = fitting.find(({ id }) => (room.get(id) ?? 0) > 0) ?? fitting[0];
    if (!chosen) {
      unrunnable.push(job);
      continue;
    }
    byGroup.get(chosen.id)?.push(job);
    room.set(chosen.id, (room.get(chosen.id) ?? 0) - 1);
  }
  return { byGroup, unrunnable };
}
