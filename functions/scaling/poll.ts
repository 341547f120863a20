import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { ProviderError } from '../../shared/ci/provider.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { assignJobs } from './assign.ts';
import { type BusyList, busyInSweep, demandOf, noteInService } from './demand.ts';
import { raiseTo } from './desired.ts';
import { idleBeside, noteIdle } from './idle.ts';
import type { FleetGroup, RunnerGroup, ScalingDeps } from './ports.ts';
import { labelsOf, readSource, type Work, workflowIds } from './read-source.ts';
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
  /** Jobs that run on its instances in service. */
  running: number;
  /** Ids of these jobs, as far as they are known. */
  runningIds: ReadonlySet<string>;
  /** Whether jobs were taken from its queue since the read before, where the ids of jobs are not known. */
  isProgress: boolean;
  /** Its instances in service. */
  inService: readonly string[];
  /** Whether the read may lack jobs. */
  isFloor: boolean;
  /** Instances in service that are known to run no job, and those that are known to run one. */
  idle: readonly string[];
  busy: readonly string[];
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
    sources.map(async (source) => ({ source, work: await readOrHold(source, result, signal, deps) })),
  );
  // After the backlog: an instance that runs a job and is in service now is certain to be in service.
  const fleet = await deps.autoScaling.list();
  for (const { source, work } of reads) {
    if (work) await scaleSource(source, work, fleet, record, result, signal, deps);
  }
  deps.metrics.add('ScalingFailures', Object.keys(result.held).length, {});
  return result;
}

/** Undefined: the source cannot be read, or is not to be read yet. */
async function readOrHold(
  source: Source,
  result: PollResult,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<Work | undefined> {
  const wait = deps.memory.notBefore.get(source.name);
  if (wait && wait.at > deps.clock.now().getTime()) {
    if (wait.refusal !== undefined) hold(source.name, new Error(wait.refusal), result, deps);
    return undefined;
  }
  deps.memory.readAt.set(source.name, deps.clock.now().getTime());
  try {
    return await readSource(source, signal, deps);
  } catch (error) {
    hold(source.name, error, result, deps);
    if (error instanceof ProviderError && error.kind === 'credential') {
      deps.metrics.add('CredentialFailures', 1, {});
      deps.logger.error('credential not usable', { source: source.name, error: error.message });
    }
    return undefined;
  }
}

async function scaleSource(
  source: Source,
  work: Work,
  fleet: ReadonlyMap<string, FleetGroup>,
  record: HeldRecord,
  result: PollResult,
  signal: AbortSignal,
  deps: ScalingDeps,
): Promise<void> {
  const views: GroupView[] = [];
  for (const group of source.groups) {
    const found = fleet.get(group.settings.autoScalingGroup);
    if (found) views.push(await viewOf(group, found, work, deps));
    else hold(group.id, new Error('Auto Scaling has no such group'), result, deps);
  }
  const { byGroup } = assignJobs(
    work.queued,
    views.map(({ group, fleet: { max }, running, launchFailure }) => ({
      id: group.id,
      labels: labelsOf(group),
      workflows: workflowIds(group),
      room: launchFailure === undefined ? max - running : 0,
      unmatched: new Set(record.group(group.id)?.unmatched),
    })),
  );
  let sweep: Promise<BusyList | undefined> | undefined;
  const busyList = () => {
    sweep ??= busyInSweep(deps);
    return sweep;
  };
  for (const view of views) {
    signal.throwIfAborted();
    try {
      await scaleGroup(view, byGroup.get(view.group.id) ?? [], busyList, record, result, deps);
    } catch (error) {
      hold(view.group.id, error, result, deps);
    }
  }
  logBacklog(views, byGroup, result, deps);
}

/** Logs what was read. Groups without instances and jobs are named once: a deployment can have hundreds of them. */
function logBacklog(
  views: readonly GroupView[],
  byGroup: ReadonlyMap<string, readonly QueuedJob[]>,
  { raised }: PollResult,
  { logger, memory }: ScalingDeps,
): void {
  const groups: Record<string, { queued: number; running: number; desired: number }> = {};
  for (const { group, fleet, running } of views) {
    const queued = byGroup.get(group.id)?.length ?? 0;
    const desired = raised[group.id] ?? fleet.desired;
    const isQuiet = queued + running + desired === 0;
    if (!isQuiet || memory.logged.has(group.id)) groups[group.id] = { queued, running, desired };
    if (isQuiet) memory.logged.delete(group.id);
    else memory.logged.add(group.id);
  }
  if (Object.keys(groups).length > 0) logger.info('backlog read', { groups });
}

async function viewOf(
  group: RunnerGroup,
  fleet: FleetGroup,
  work: Work,
  { autoScaling, clock }: ScalingDeps,
): Promise<GroupView> {
  const launched = fleet.instances.filter(({ lifecycleState }) =>
    /^(Pending|InService)/.test(lifecycleState),
  );
  const since = new Date(clock.now().getTime() - LAUNCH_FAILURE_MS);
  // A group that has what it asked for launches nothing, so there is nothing to read.
  const launchFailure =
    fleet.desired > launched.length ? await autoScaling.failedLaunch(fleet.name, since) : undefined;
  return { group, fleet, launchFailure, ...runningOn(group, fleet, work) };
}

function runningOn(
  group: RunnerGroup,
  { instances }: FleetGroup,
  { running, isComplete }: Work,
): Pick<GroupView, 'running' | 'runningIds' | 'isProgress' | 'idle' | 'busy' | 'inService' | 'isFloor'> {
  const inService = instances
    .filter(({ lifecycleState }) => lifecycleState === 'InService')
    .map(({ instanceId }) => instanceId);
  if (running.kind === 'listed') {
    const own = new Set(inService);
    const jobs = running.jobs.filter(({ instanceId }) => own.has(instanceId));
    const busy = new Set(jobs.map(({ instanceId }) => instanceId));
    // A read that lacks jobs shows of no instance that it has none.
    const idle = isComplete ? inService.filter((id) => !busy.has(id)) : [];
    const runningIds = new Set(jobs.map(({ id }) => id));
    const isFloor = !isComplete;
    return { running: busy.size, runningIds, isProgress: false, idle, busy: [...busy], inService, isFloor };
  }
  // A draining instance ends with its job, so its job needs no other place.
  const draining = instances.filter(({ lifecycleState }) => /^Terminating(:Wait)?$/.test(lifecycleState));
  const [queue = ''] = labelsOf(group);
  const left = Math.max(0, (running.byQueue.get(queue) ?? 0) - draining.length);
  const own = Math.min(inService.length, left);
  // Further groups of the queue run the rest.
  running.byQueue.set(queue, left - own);
  // Which of the instances run the jobs is not known.
  return {
    running: own,
    runningIds: new Set(),
    isProgress: running.progress.has(queue),
    idle: own === 0 ? inService : [],
    busy: [],
    inService,
    isFloor: !isComplete,
  };
}

async function scaleGroup(
  view: GroupView,
  queued: readonly QueuedJob[],
  busyList: () => Promise<BusyList | undefined>,
  record: HeldRecord,
  result: PollResult,
  deps: ScalingDeps,
): Promise<void> {
  const { group, fleet, running } = view;
  const now = deps.clock.now();
  noteIdle(group.id, view, deps);
  noteInService(group.id, view.inService, deps);
  const before = record.group(group.id);
  const unmatched = unmatchedJobs(
    {
      ids: before?.unmatched ?? [],
      since: before?.unmatchedSince === undefined ? undefined : Date.parse(before.unmatchedSince),
      trial: before?.trial,
    },
    {
      queued,
      running: view.runningIds,
      isProgress: view.isProgress,
      idleMs: await idleBeside(view, queued, deps),
      hasIdle: view.idle.length > 0,
    },
    now.getTime(),
  );
  // What has shown that a job is held shows nothing about its next trial.
  const known = new Set(before?.unmatched);
  const isNew = unmatched.ids.some((id) => !known.has(id)) || unmatched.trial !== before?.trial;
  if (isNew) deps.memory.idled.delete(group.id);
  const counted = queued.filter(({ id }) => !unmatched.ids.includes(id));
  emit(group.id, counted, unmatched.ids.length, deps);
  const oldest = queued.length > 0 ? { oldest: new Date(oldestOf(queued)).toISOString() } : {};
  record.note(group.id, {
    queued: queued.length,
    running,
    ...oldest,
    readAt: now.toISOString(),
    unmatched: [...unmatched.ids],
    ...(unmatched.since !== undefined && { unmatchedSince: new Date(unmatched.since).toISOString() }),
    ...(unmatched.trial !== undefined && { trial: unmatched.trial }),
  });
  const { minRunners: min, scaleOutFactor = 1 } = group.settings;
  const { max, desired } = fleet;
  const demand = await demandOf(view, counted, busyList, deps);
  const targets = demand.map(
    ({ running, queued }) => raiseTo({ min, max, desired, running }, queued, scaleOutFactor) ?? desired,
  );
  const target = Math.max(...targets);
  if (target <= desired) return;
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
