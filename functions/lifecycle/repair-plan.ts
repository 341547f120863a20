import type { GroupState } from '../../shared/aws/auto-scaling.ts';
import { CAUSES, type Cause, faultsLeft, type GroupRecord } from './group-record.ts';
import { isTerminating } from './lifecycle-state.ts';

/** Share of a group that may be without service at once because of repairs; at least one instance. */
const REPAIR_SHARE = 0.1;

/** How long an instance has to be without a registration before it is replaced, in milliseconds: two sweeps have found it so. */
const NO_AGENT_MS = 600_000;

/** What decides which instances of a group are replaced. */
export type RepairInput = {
  group: Pick<GroupState, 'desired' | 'instances' | 'launchTemplate'>;
  /** In milliseconds; undefined: instances may live for ever. */
  maxLifetimeMs: number | undefined;
  /** Whether instances of an older version of the launch template are replaced. */
  replacesOutdated: boolean;
  /** Instances that have no registration and request none, with the time since when; undefined: not known. */
  withoutAgent: ReadonlyMap<string, Date> | undefined;
  record: GroupRecord;
  now: Date;
  /** Replacements that this run may still begin. */
  left: number;
};

export type Repair = { instanceId: string; cause: Cause; since: Date };

/** The next record, the instances to replace now, and how long the oldest one that is due has waited, in seconds. */
export type RepairPlan = { record: GroupRecord; replace: Repair[]; oldestDueSeconds: number };

/**
 * Decides which instances of a group are replaced now. An instance is replaced once, whatever its causes. A replacement is counted
 * before it begins, and for an hour the instance is not considered again.
 *
 * At most a tenth of the group is without service at once. An instance that launches counts, and so does a launch that
 * failed: where the replacements do not come into service, no further instance goes.
 */
export function planRepairs(input: RepairInput): RepairPlan {
  const { group, record, now, left } = input;
  const present = new Set(group.instances.map(({ instanceId }) => instanceId));
  const at = now.toISOString();
  const seen = Object.fromEntries([...present].map((id) => [id, record.seen[id] ?? at]));
  const due = findDue(input, seen);
  // A list can be older than the replacement that the record has.
  const replacedBefore = new Set(record.replaced.map(({ instanceId }) => instanceId));
  const inService = group.instances.filter(({ lifecycleState }) => lifecycleState === 'InService');
  const leaving = inService.filter(({ instanceId }) => replacedBefore.has(instanceId)).length;
  const draining = group.instances.filter(({ lifecycleState }) => isTerminating(lifecycleState)).length;
  const unavailable = Math.max(leaving, group.desired - (inService.length - leaving));
  const room = Math.min(left, Math.max(1, Math.floor(group.desired * REPAIR_SHARE)) - unavailable);
  const ordered = due.toSorted(
    (a, b) => CAUSES.indexOf(a.cause) - CAUSES.indexOf(b.cause) || a.since.getTime() - b.since.getTime(),
  );
  const isFault = ({ cause }: Repair) => cause === 'unhealthy' || cause === 'no-agent';
  const faults = take(ordered.filter(isFault), Math.min(room, faultsLeft(record, group.desired)));
  // A draining instance has its replacement. But all of a group that drain at once would double its cost.
  const planned = take(
    ordered.filter((one) => !isFault(one)),
    room - faults.length - draining,
  );
  const replace = [...faults, ...planned];
  const waiting = [...due.filter((one) => !replace.includes(one)), ...notInService(input)];
  const oldest = Math.min(now.getTime(), ...waiting.map(({ since }) => since.getTime()));
  return {
    record: {
      version: 1,
      seen,
      replaced: [...record.replaced, ...replace.map(({ instanceId, cause }) => ({ instanceId, cause, at }))],
      due: Object.fromEntries(
        waiting.map(({ instanceId, cause, since }) => [instanceId, { cause, since: since.toISOString() }]),
      ),
      draining: Object.fromEntries(Object.entries(record.draining).filter(([id]) => present.has(id))),
    },
    replace,
    oldestDueSeconds: (now.getTime() - oldest) / 1_000,
  };
}

/** Instances that have reported a fault while they launch, or before an operator put them in standby. */
function notInService({ group, record }: RepairInput): Repair[] {
  return group.instances.flatMap(({ instanceId, lifecycleState }): Repair[] => {
    const before = record.due[instanceId];
    if (before?.cause !== 'unhealthy' || lifecycleState === 'InService' || isTerminating(lifecycleState))
      return [];
    return [{ instanceId, cause: 'unhealthy', since: new Date(before.since) }];
  });
}

/** The instances in service that have a cause, each with its first one in the order of `CAUSES`. */
function findDue(input: RepairInput, seen: Readonly<Record<string, string>>): Repair[] {
  const { group, record, now } = input;
  const replaced = new Set(record.replaced.map(({ instanceId }) => instanceId));
  const inService = group.instances.filter(({ lifecycleState }) => lifecycleState === 'InService');
  const silent = inService.filter(({ instanceId }) => {
    const since = input.withoutAgent?.get(instanceId);
    return since !== undefined && now.getTime() - since.getTime() >= NO_AGENT_MS;
  });
  // What concerns the whole group is not the fault of its instances, and new ones would not have an agent either.
  const isCommon = silent.length > 1 && silent.length === inService.length;
  return inService.flatMap((instance): Repair[] => {
    const { instanceId, launchTemplate } = instance;
    if (replaced.has(instanceId)) return [];
    const before = record.due[instanceId];
    const since = (cause: Cause) => (before?.cause === cause ? new Date(before.since) : now);
    if (before?.cause === 'unhealthy') return [{ instanceId, cause: 'unhealthy', since: since('unhealthy') }];
    const without = input.withoutAgent?.get(instanceId);
    if (without && silent.includes(instance) && !isCommon)
      return [{ instanceId, cause: 'no-agent', since: without }];
    const end = Date.parse(seen[instanceId] ?? '') + (input.maxLifetimeMs ?? Number.POSITIVE_INFINITY);
    if (end <= now.getTime()) return [{ instanceId, cause: 'lifetime', since: new Date(end) }];
    if (input.replacesOutdated && isOlder(launchTemplate, group.launchTemplate))
      return [{ instanceId, cause: 'outdated', since: since('outdated') }];
    return [];
  });
}

type Template = GroupState['launchTemplate'];

/** Whether both are versions of one launch template, and the first is older. `$Latest` and the like are not comparable. */
function isOlder(own: Template, present: Template): boolean {
  if (!own || !present || own.id !== present.id) return false;
  const [a, b] = [own.version, present.version].map((text) =>
    /^\d+$/.test(text) ? Number(text) : Number.NaN,
  );
  return (a ?? Number.NaN) < (b ?? Number.NaN);
}

function take<T>(items: readonly T[], count: number): T[] {
  return items.slice(0, Math.max(0, count));
}
