import type { JobList, QueuedJob } from '../../shared/ci/backlog.ts';
import { ProviderError } from '../../shared/ci/provider.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { assignJobs } from './assign.ts';
import { raiseTo } from './desired.ts';
import { idleForMs, noteIdle } from './idle.ts';
import type { FleetGroup, RunnerGroup, ScalingDeps } from './ports.ts';
import { readSource } from './read-source.ts';
import type { HeldRecord } from './record.ts';
import type { Source } from './sources.ts';
import { unmatchedJobs } from './unmatched.ts';

/** Age up to which a failed launch keeps a group from growing, in milliseconds. Auto Scaling tries again by itself. */
const LAUNCH_FAILURE_MS = 10 * 60_000;

/** What one poll did, for its log line. */
export type PollResult = {
  /** New desired capacities, by group. */
  raised: Record<string, number>;
  /** Why groups or sources stay as they are. */
  held: Record<string, string>;
};

/** A group with what a poll read of it. */
type GroupView = {
  group: RunnerGroup;
  fleet: FleetGroup;
  /** Ids of the instances in service. */
  inService: readonly string[];
  /** Jobs that run on them. */
  running: JobList['running'];
  /** Why the group cannot launch instances at present. */
  launchFailure: string | undefined;
};

/**
 * Reads the backlog of the sources and raises the desired capacity of their groups. A source that cannot be read, or a group that
 * cannot be changed, stays as it is and does not affect the others.
 *
 * @throws if Auto Scaling cannot be read, or the time is over
 */
export async function poll(
  sources: readonly Source[],
  record: HeldRecord,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<PollResult> {
  const result: PollResult = { raised: {}, held: {} };
  const reads = await Promise.all(
    sources.map(async (source) => ({ source, list: await readOrHold(source, result, signal, deps) })),
  );
  // After the backlog: an instance that runs a job and is in service now is certain to be in service.
  const fleet = await deps.autoScaling.list();
  for (const { source, list } of reads) {
    if (list) await scaleSource(source, list, fleet, record, result, signal, deps);
  }
  deps.metrics.add('ScalingFailures', Object.keys(result.held).length, {});
  return result;
}

async function readOrHold(
  source: Source,
  result: PollResult,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<JobList | undefined> {
  const [{ settings }] = source.groups;
  try {
    if (settings.provider !== 'gha') return undefined;
    return await readSource(
      (options) => deps.backlogs.github(settings, workflowsOf(source), options),
      signal,
      deps,
    );
  } catch (error) {
    hold(source.name, error, result, deps);
    if (error instanceof ProviderError && error.kind === 'credential') {
      deps.metrics.add('CredentialFailures', 1, {});
      deps.logger.error('credential not usable', { source: source.name, error: error.message });
    }
    return undefined;
  }
}

/** The workflows of a source, if each group of it names its own; undefined: all. */
function workflowsOf({ groups }: Source): ReadonlySet<string> | undefined {
  const named = groups.map((group) => workflowIds(group));
  return named.every((ids) => ids.length > 0) ? new Set(named.flat()) : undefined;
}

async function scaleSource(
  source: Source,
  list: JobList,
  fleet: ReadonlyMap<string, FleetGroup>,
  record: HeldRecord,
  result: PollResult,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<void> {
  const views: GroupView[] = [];
  for (const group of source.groups) {
    const found = fleet.get(group.settings.autoScalingGroup);
    if (found) views.push(await viewOf(group, found, list, deps));
    else hold(group.id, new Error('Auto Scaling has no such group'), result, deps);
  }
  const { byGroup } = assignJobs(
    list.queued,
    views.map(({ group, fleet: { max }, running, launchFailure }) => ({
      id: group.id,
      labels: labelsOf(group),
      workflows: workflowIds(group),
      room: launchFailure === undefined ? max - running.length : 0,
    })),
  );
  for (const view of views) {
    signal.throwIfAborted();
    try {
      await scaleGroup(view, byGroup.get(view.group.id) ?? [], list.isComplete, record, result, deps);
    } catch (error) {
      hold(view.group.id, error, result, deps);
    }
  }
}

async function viewOf(
  group: RunnerGroup,
  fleet: FleetGroup,
  list: JobList,
  { autoScaling, clock }: ScalingDeps,
): Promise<GroupView> {
  const inService = fleet.instances
    .filter(({ lifecycleState }) => lifecycleState === 'InService')
    .map(({ instanceId }) => instanceId);
  const own = new Set(inService);
  const running = list.running.filter(({ instanceId }) => own.has(instanceId));
  const launched = fleet.instances.filter(({ lifecycleState }) =>
    /^(Pending|InService)/.test(lifecycleState),
  );
  const since = new Date(clock.now().getTime() - LAUNCH_FAILURE_MS);
  // A group that has what it asked for launches nothing, so there is nothing to read.
  const launchFailure =
    fleet.desired > launched.length ? await autoScaling.failedLaunch(fleet.name, since) : undefined;
  return { group, fleet, inService, running, launchFailure };
}

async function scaleGroup(
  view: GroupView,
  queued: readonly QueuedJob[],
  isComplete: boolean,
  record: HeldRecord,
  result: PollResult,
  deps: ScalingDeps,
): Promise<void> {
  const { group, fleet, running } = view;
  const now = deps.clock.now();
  const busy = new Set(running.map(({ instanceId }) => instanceId));
  noteIdle(group.id, isComplete ? view.inService.filter((id) => !busy.has(id)) : [], deps);
  const unmatched = unmatchedJobs(
    record.group(group.id)?.unmatched ?? [],
    queued,
    new Set(running.map(({ id }) => id)),
    queued.length > 0 ? await idleForMs(group, deps) : 0,
    now.getTime(),
  );
  const counted = queued.filter(({ id }) => !unmatched.includes(id));
  emit(group.id, counted, unmatched.length, deps);
  const oldest = queued.length > 0 ? { oldest: new Date(oldestOf(queued)).toISOString() } : {};
  record.note(group.id, {
    queued: queued.length,
    running: busy.size,
    ...oldest,
    readAt: now.toISOString(),
    unmatched,
  });
  const { minRunners: min, scaleOutFactor = 1 } = group.settings;
  const { max, desired } = fleet;
  const target = raiseTo({ min, max, desired, running: busy.size }, counted.length, scaleOutFactor);
  if (target === undefined) return;
  if (view.launchFailure !== undefined) throw new Error(`launches fail: ${view.launchFailure}`);
  const set = await raise(fleet.name, target, deps);
  if (set !== undefined) result.raised[group.id] = set;
}

/** Raises a desired capacity that is still lower, by Auto Scaling's answer of this moment. */
async function raise(
  name: string,
  target: number,
  { autoScaling }: ScalingDeps,
): Promise<number | undefined> {
  const present = await autoScaling.describe(name);
  if (!present) return undefined;
  const capped = Math.min(target, present.max);
  if (capped <= present.desired) return undefined;
  await autoScaling.setDesired(name, capped);
  return capped;
}

function emit(
  id: string,
  counted: readonly QueuedJob[],
  unmatched: number,
  { metrics, clock }: ScalingDeps,
): void {
  metrics.add('BacklogJobs', counted.length, { Group: id });
  if (unmatched > 0) metrics.add('UnmatchedJobs', unmatched, { Group: id });
  if (counted.length === 0) return;
  const age = Math.max(0, (clock.now().getTime() - oldestOf(counted)) / 1000);
  metrics.add('OldestJobSeconds', age, { Group: id });
}

function oldestOf(jobs: readonly QueuedJob[]): number {
  return jobs.reduce((oldest, { since }) => Math.min(oldest, since), Number.POSITIVE_INFINITY);
}

function hold(name: string, error: unknown, result: PollResult, { logger }: ScalingDeps): void {
  result.held[name] = errorText(error);
  logger.warn('capacity held', { name, error: errorText(error) });
}

function labelsOf({ settings }: RunnerGroup): string[] {
  return settings.provider === 'gha' ? settings.labels.map((label) => label.toLowerCase()) : [];
}

function workflowIds({ settings }: RunnerGroup): readonly string[] {
  return (settings.provider === 'gha' && settings.workflowIds) || [];
}
