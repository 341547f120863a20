import type { Groups, RunnerGroup } from '../../../shared/fleet/declared-groups.ts';
import type { MetricSink } from '../../../shared/runtime/metrics.ts';
import type { AutoScaling } from '../cloud/auto-scaling.ts';
import type { Bucket } from '../cloud/bucket.ts';
import type { Calls } from '../cloud/calls.ts';
import type { Ci } from '../cloud/ci.ts';
import type { Kernel, Random } from '../kernel.ts';
import type { World, WorldGroup } from '../world.ts';

/** The deployment that the functions of the product run in. */
export type Deployment = {
  kernel: Kernel;
  random: Random;
  world: World;
  ci: Ci;
  autoScaling: AutoScaling;
  bucket: Bucket;
  calls: Calls;
  /** The declared groups. `config/groups.json` is the same in the whole simulation, and reading it each minute is not what matters. */
  groups: Groups;
  metrics: MetricSink;
  /** Lines of all functions at the level of a warning or above. */
  log(line: string): void;
  clock: { now(): Date };
};

export function groupsInMemory(groups: readonly RunnerGroup[]): Groups {
  const byRole = new Map(groups.map((group) => [group.settings.role, group]));
  return { all: async () => groups, byRole: async (role) => byRole.get(role) };
}

/** Calls for which a group stays active after its last job and instance. */
const LINGER = 5;

/**
 * The groups with a job or an instance. The others need nothing: a poll of them reads an empty list and leaves a capacity of 0, and none of
 * their instances has to be replaced. At night they are most of a thousand groups, and a week has ten thousand polls. A group that has
 * become empty is there for a few calls more: the function sees that it is, and forgets what it has remembered of its jobs.
 */
export function activeGroups({ world, autoScaling, ci }: Deployment): () => RunnerGroup[] {
  let groups: { group: WorldGroup; isActive(): boolean; left: number }[] | undefined;
  const open = (group: WorldGroup) => {
    const entry = autoScaling.entries.get(group.settings.autoScalingGroup);
    const counts = ci.pools.get(group.pool)?.counts;
    const hasJobs = (key: string) => {
      const own = counts?.get(key);
      return own !== undefined && own.queued + own.running > 0;
    };
    const isActive = () =>
      !entry || entry.group.desired > 0 || entry.group.instances.length > 0 || group.takes.some(hasJobs);
    return { group, isActive, left: 0 };
  };
  return () => {
    groups ??= world.groups.map(open);
    const active: RunnerGroup[] = [];
    for (const each of groups) {
      each.left = each.isActive() ? LINGER : each.left - 1;
      if (each.left >= 0) active.push(each.group);
    }
    return active;
  };
}
