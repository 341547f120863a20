import type { Groups, RunnerGroup } from '../../shared/fleet/declared-groups.ts';
import { parseSweep, SWEEP_KEY } from '../../shared/fleet/registration-record.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { done, type Outcome } from '../../shared/runtime/outcome.ts';
import { type RecordDeps, readGroupRecord, writeGroupRecord } from './group-record.ts';
import type { AutoScalingPort, GroupState } from './ports.ts';
import { planRepairs, type Repair } from './repair-plan.ts';
import { terminateAndReplace } from './terminate.ts';

/** Most replacements that one run begins. */
const MAX_PER_RUN = 20;

/** Groups that are evaluated side by side. */
const PARALLEL = 10;

/** Age from which a sweep of `registration` proves nothing any more, in milliseconds: three sweeps are missing. */
const SWEEP_FRESH_MS = 15 * 60_000;

export type ReconcileDeps = RecordDeps & {
  autoScaling: AutoScalingPort;
  groups: Pick<Groups, 'all'>;
  metrics: MetricSink;
  logger: Pick<Logger, 'warn'>;
};

type Run = { left: number; replaced: Record<string, string[]>; waiting: string[]; held: string[] };

/**
 * Compares every instance with what it should be, and replaces those that differ, a few at a time: instances without an agent, beyond
 * their lifetime, or of an older version of their launch template, and instances that reported a fault above the limit of their
 * group. Each goes through its terminate hook, so a running job ends first.
 *
 * Where something cannot be read, the instances that depend on it stay.
 */
export async function reconcileFleet(deps: ReconcileDeps): Promise<Outcome> {
  const declared = (await deps.groups.all()).filter(({ settings }) => settings.takesJobs);
  const states = await deps.autoScaling.listGroups();
  const withoutAgent = await silentInstances(declared, states, deps);
  const run: Run = { left: MAX_PER_RUN, replaced: {}, waiting: [], held: [] };
  for (let start = 0; start < declared.length; start += PARALLEL) {
    const batch = declared.slice(start, start + PARALLEL);
    await Promise.all(
      batch.map(async (group) => {
        const state = states.get(group.settings.autoScalingGroup);
        if (state) await reconcileGroup(group, state, withoutAgent, run, deps);
      }),
    );
  }
  const { replaced, waiting, held } = run;
  return done({
    replaced,
    waiting: waiting.slice(0, 20),
    held,
    ...(!withoutAgent && { unknown: 'registrations' }),
  });
}

async function reconcileGroup(
  { id, settings }: RunnerGroup,
  group: GroupState,
  withoutAgent: ReadonlyMap<string, Date> | undefined,
  run: Run,
  deps: ReconcileDeps,
): Promise<void> {
  const { record, etag } = await readGroupRecord(id, deps);
  const { maxInstanceLifetimeSeconds, replaceOutdated } = settings;
  const plan = planRepairs({
    group,
    maxLifetimeMs: maxInstanceLifetimeSeconds === undefined ? undefined : maxInstanceLifetimeSeconds * 1_000,
    replacesOutdated: replaceOutdated ?? false,
    withoutAgent,
    record,
    now: deps.clock.now(),
    left: run.left,
  });
  run.left -= plan.replace.length;
  // The note comes first: of two runs at once, one does nothing, and a run that ends in between replaces nothing twice.
  const isWritten =
    JSON.stringify(plan.record) === JSON.stringify(record) ||
    (await writeGroupRecord(id, plan.record, etag, deps));
  if (!isWritten) {
    run.held.push(id);
    return;
  }
  deps.metrics.add('RepairDueSeconds', plan.oldestDueSeconds, { Group: id });
  if (plan.oldestDueSeconds > 0) run.waiting.push(id);
  for (const repair of plan.replace) await replace(repair, id, run, deps);
}

/** A replacement that fails is tried again in an hour, and costs the others nothing. */
async function replace(
  { instanceId, cause, since }: Repair,
  group: string,
  run: Run,
  deps: ReconcileDeps,
): Promise<void> {
  try {
    // The list can be older than the instance's last change.
    const present = await deps.autoScaling.describeInstance(instanceId);
    if (present?.lifecycleState !== 'InService') return;
    const { outcome } = await terminateAndReplace(instanceId, present.lifecycleState, deps.autoScaling);
    if (outcome !== 'done') return;
    deps.metrics.add('RunnersReplaced', 1, { Group: group, Cause: cause });
    run.replaced[group] = [...(run.replaced[group] ?? []), `${instanceId}: ${cause}`];
    deps.logger.warn('instance replaced', { group, instanceId, cause, since: since.toISOString() });
  } catch (error) {
    deps.logger.warn('instance not replaced', { group, instanceId, cause, error: errorText(error) });
  }
}

/**
 * The instances that have no agent and request none, or undefined where that is not known: without a fresh sweep, and when most of
 * the deployment is so. The cause is then what all instances share, such as the function `registration` itself.
 */
async function silentInstances(
  declared: readonly RunnerGroup[],
  states: ReadonlyMap<string, GroupState>,
  { store, clock }: ReconcileDeps,
): Promise<ReadonlyMap<string, Date> | undefined> {
  const sweep = parseSweep((await store.read(SWEEP_KEY))?.text);
  if (!sweep || clock.now().getTime() - Date.parse(sweep.at) > SWEEP_FRESH_MS) return undefined;
  const silent = new Map(sweep.silent.map((id) => [id, new Date(sweep.withoutAgent[id] ?? sweep.at)]));
  const inService = declared
    .flatMap(({ settings }) => states.get(settings.autoScalingGroup)?.instances ?? [])
    .filter(({ lifecycleState }) => lifecycleState === 'InService');
  const found = inService.filter(({ instanceId }) => silent.has(instanceId)).length;
  return found > 1 && found > inService.length / 2 ? undefined : silent;
}
