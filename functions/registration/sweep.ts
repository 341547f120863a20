import { takeBudget } from '../../shared/ci/budget.ts';
import { type KnownRegistration, ProviderError } from '../../shared/ci/provider.ts';
import { parseRegistrationName } from '../../shared/fleet/registration.ts';
import {
  parseSweep,
  RECORDS,
  recordKey,
  SWEEP_KEY,
  type Sweep,
} from '../../shared/fleet/registration-record.ts';
import { done, type Outcome } from '../../shared/runtime/outcome.ts';
import { collect } from './clean-up.ts';
import type { InstanceState, RegistrationDeps, RunnerGroup } from './ports.ts';
import { withProvider } from './provider-call.ts';
import { readRecord } from './record.ts';

/** Age from which the record of an instance that does not exist any more is removed, in milliseconds. */
const RECORD_MS = 3_600_000;

/**
 * An instance whose record was written within this time, in milliseconds, asks for registrations, also if it gets none: the record is
 * written before a provider is called, and when the budget is spent. Without a usable credential the list of the group is missing.
 */
const ASKS_MS = 15 * 60_000;

/** What one sweep found, for its log line. */
type Findings = { removed: string[]; kept: string[]; withoutAgent: number; excess: number };

/**
 * Compares all registrations of all providers with all instances of the deployment. It removes what instances have left that no
 * longer exist, and what an instance that lives has left behind beside its latest registration; both only if it is offline. It
 * counts instances in service that no provider knows.
 *
 * A registration is of this deployment only if its instance has a record here: other deployments may share a repository.
 *
 * @throws {ProviderError} the first one, after every provider had its turn
 */
export async function sweep(signal: AbortSignal, deps: RegistrationDeps): Promise<Outcome> {
  const groups = (await deps.groups.all()).filter(({ settings }) => settings.takesJobs);
  const { lists, errors } = await listAll(groups, signal, deps);
  // After the registrations: an instance that has one and is not in this list has terminated.
  const records = await recordTimes(deps);
  const instances = await deps.autoScaling.listInstances();
  const findings: Findings = { removed: [], kept: [], withoutAgent: 0, excess: 0 };
  for (const list of lists) {
    try {
      await sweepList(list, records, instances, findings, signal, deps);
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      errors.push(error);
    }
  }
  deps.metrics.add('RegistrationsLeftBehind', findings.kept.length, {});
  findings.withoutAgent = await countWithoutAgent(groups, lists, records, instances, deps);
  if (errors.length === 0) await removeOldRecords(lists, records, instances, deps);
  if (errors[0]) throw errors[0];
  return done({ ...findings, removed: findings.removed.slice(0, 20), kept: findings.kept.slice(0, 20) });
}

/** One list of a provider, with the groups that are in it. */
type ScopeList = { groups: RunnerGroup[]; registrations: KnownRegistration[] };

/** The lists are read side by side, and each once: a provider that does not answer costs one timeout, whatever it has of groups. */
async function listAll(groups: readonly RunnerGroup[], signal: AbortSignal, deps: RegistrationDeps) {
  const lists: ScopeList[] = [];
  const errors: ProviderError[] = [];
  await Promise.all(
    [...byAccount(groups)].map(async (sharing) => {
      const [group] = sharing;
      try {
        await withProvider(group, group.id, signal, deps, async ({ removable }) => {
          if (removable) lists.push({ groups: sharing, registrations: await collect(removable) });
        });
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error;
        errors.push(error);
      }
    }),
  );
  return { lists, errors };
}

/** Groups whose registrations are in one list. */
function byAccount(groups: readonly RunnerGroup[]): Iterable<[RunnerGroup, ...RunnerGroup[]]> {
  const accounts = new Map<string, [RunnerGroup, ...RunnerGroup[]]>();
  for (const group of groups) {
    const { settings } = group;
    const account =
      settings.provider === 'gha' ? [settings.apiUrl, settings.owner, settings.repository] : [group.id];
    const key = JSON.stringify(account);
    const sharing = accounts.get(key);
    if (sharing) sharing.push(group);
    else accounts.set(key, [group]);
  }
  return accounts.values();
}

/** When the record of each instance was last written. */
async function recordTimes({ store }: RegistrationDeps): Promise<Map<string, Date>> {
  const times = new Map<string, Date>();
  for await (const { key, lastModified } of store.list(`${RECORDS}i-`)) {
    times.set(key.slice(RECORDS.length, -'.json'.length), lastModified);
  }
  return times;
}

async function sweepList(
  { groups, registrations }: ScopeList,
  records: ReadonlyMap<string, Date>,
  instances: ReadonlyMap<string, InstanceState>,
  findings: Findings,
  signal: AbortSignal,
  deps: RegistrationDeps,
): Promise<void> {
  const excess = new Map(groups.map(({ id }) => [id, 0]));
  for (const [instanceId, own] of byInstance(registrations)) {
    if (!records.has(instanceId)) continue;
    const instance = instances.get(instanceId);
    const latest = instance && own.length > 1 ? (await readRecord(instanceId, deps)).record?.n : undefined;
    const left = own.filter((one) => !isInUse(one, instance, latest));
    const inUse = own.length - left.length;
    // A detached instance is in no group, and its agent is still online.
    if (!instance && inUse > 0)
      findings.kept.push(...own.filter((one) => !left.includes(one)).map(({ name }) => name));
    if (left.length > 0) {
      const group = groups.find(({ settings }) => settings.autoScalingGroup === instance?.autoScalingGroup);
      await removeAll(left, group ?? groups[0], instanceId, findings, signal, deps);
    }
    const group = groups.find(({ settings }) => settings.autoScalingGroup === instance?.autoScalingGroup);
    if (group && inUse > 1) {
      excess.set(group.id, (excess.get(group.id) ?? 0) + 1);
      findings.excess += 1;
    }
  }
  for (const [Group, count] of excess) deps.metrics.add('ExcessRegistrations', count, { Group });
}

/** @param latest number of the latest registration of an instance that has several */
function isInUse(
  { online, busy, name }: KnownRegistration,
  instance: InstanceState | undefined,
  latest: number | undefined,
): boolean {
  if (online || busy) return true;
  if (!instance) return false;
  // A registration is offline until its agent has started.
  return latest === undefined || parseRegistrationName(name)?.n === latest;
}

async function removeAll(
  left: readonly KnownRegistration[],
  group: RunnerGroup | undefined,
  instanceId: string,
  findings: Findings,
  signal: AbortSignal,
  deps: RegistrationDeps,
): Promise<void> {
  if (!group) return;
  await withProvider(group, instanceId, signal, deps, async ({ removable, installation }) => {
    for (const { id, name } of left) {
      // What is left now is removed by a later sweep.
      if (!removable || (await takeBudget(installation, 1, 'low', deps)) !== 'taken') {
        findings.kept.push(name);
        continue;
      }
      const result = await removable.remove(id);
      (result === 'removed' ? findings.removed : findings.kept).push(name);
    }
  });
}

/**
 * Counts, per group, the instances in service that have no registration, in this sweep and in the one before: between two jobs an
 * instance has none for some seconds. Buildkite and CircleCI list no agents, so there an instance counts that never had one.
 *
 * The function `lifecycle` reads which of them request none either, and replaces them. The function `scaling` reads which instances are
 * busy.
 */
async function countWithoutAgent(
  groups: readonly RunnerGroup[],
  lists: readonly ScopeList[],
  records: ReadonlyMap<string, Date>,
  instances: ReadonlyMap<string, InstanceState>,
  deps: RegistrationDeps,
): Promise<number> {
  const stored = await deps.store.read(SWEEP_KEY);
  const before = parseSweep(stored?.text)?.withoutAgent ?? {};
  const now = deps.clock.now();
  const next: Sweep = {
    ...{ version: 2, at: now.toISOString(), withoutAgent: {}, silent: [] },
    busy: busyInstances(lists, instances),
  };
  let total = 0;
  const inService = inServiceByGroup(instances);
  const registered = new Map(
    lists.flatMap((list) => {
      const own = byInstance(list.registrations);
      return list.groups.map(({ id }) => [id, own] as const);
    }),
  );
  for (const group of groups) {
    const own = registered.get(group.id);
    // The list of the provider could not be read: nothing is known.
    if (!own && group.settings.provider === 'gha') continue;
    const without = (inService.get(group.settings.autoScalingGroup) ?? []).filter(
      (instanceId) => !(own ?? records).has(instanceId),
    );
    let lasting = 0;
    for (const instanceId of without) {
      if (before[instanceId]) lasting += 1;
      next.withoutAgent[instanceId] = before[instanceId] ?? next.at;
      const askedAt = records.get(instanceId);
      if (!askedAt || Number(now) - Number(askedAt) >= ASKS_MS) next.silent.push(instanceId);
    }
    deps.metrics.add('InstancesWithoutAgent', lasting, { Group: group.id });
    total += lasting;
  }
  const precondition = stored ? { ifMatch: stored.etag } : { ifNoneMatch: true as const };
  await deps.store.write(SWEEP_KEY, next, precondition);
  return total;
}

/** Instances of the deployment whose runners the provider lists as busy. */
function busyInstances(lists: readonly ScopeList[], instances: ReadonlyMap<string, InstanceState>): string[] {
  const busy = lists.flatMap(({ registrations }) => registrations.filter((one) => one.busy));
  return [...byInstance(busy).keys()].filter((instanceId) => instances.has(instanceId));
}

/** A fleet has thousands of instances in hundreds of groups: they are sorted once, and not searched for each group. */
function inServiceByGroup(instances: ReadonlyMap<string, InstanceState>): Map<string, string[]> {
  const byGroup = new Map<string, string[]>();
  for (const [instanceId, { autoScalingGroup, lifecycleState }] of instances) {
    if (lifecycleState !== 'InService') continue;
    const own = byGroup.get(autoScalingGroup);
    if (own) own.push(instanceId);
    else byGroup.set(autoScalingGroup, [instanceId]);
  }
  return byGroup;
}

/** Removes the records of instances that no longer exist and have nothing left at a provider. */
async function removeOldRecords(
  lists: readonly ScopeList[],
  records: ReadonlyMap<string, Date>,
  instances: ReadonlyMap<string, InstanceState>,
  { store, clock }: RegistrationDeps,
): Promise<void> {
  const registered = new Set(lists.flatMap(({ registrations }) => [...byInstance(registrations).keys()]));
  const now = clock.now().getTime();
  for (const [instanceId, lastModified] of records) {
    if (instances.has(instanceId) || registered.has(instanceId)) continue;
    if (now - lastModified.getTime() >= RECORD_MS) await store.remove(recordKey(instanceId));
  }
}

function byInstance(registrations: readonly KnownRegistration[]): Map<string, KnownRegistration[]> {
  const instances = new Map<string, KnownRegistration[]>();
  for (const registration of registrations) {
    const instanceId = parseRegistrationName(registration.name)?.instanceId;
    if (instanceId === undefined) continue;
    const own = instances.get(instanceId);
    if (own) own.push(registration);
    else instances.set(instanceId, [registration]);
  }
  return instances;
}
