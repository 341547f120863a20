import { autoScalingGroupName, parseGroupId } from '../../shared/fleet/names.ts';
import { type Report, WARMING_RUN_FAILED } from '../../shared/fleet/report.ts';
import { ConfigurationError, RetryableError } from '../../shared/runtime/errors.ts';
import { dead, done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { isPromotable, isQuarantined } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { listSnapshots } from './inventory.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import {
  createdDuring,
  endTime,
  isRunning,
  type Run,
  type RunningRun,
  readRun,
  type StoredRun,
  writeRun,
} from './run.ts';

/** Most characters of a reason in the record of a run. */
const MAX_REASON = 500;

/**
 * Auto Scaling replaces an instance that fails, and its replacement may succeed. After this many instances the cause is not the
 * instance, and the run fails before its deadline.
 */
const MAX_FAILED_INSTANCES = 3;

/** Most changes of the last run by other writers during one start. */
const MAX_RACES = 3;

/** Why the warming group cannot launch an instance until the deployment changes. */
type CapacityProblem = 'no-warming-group' | 'no-room';

/**
 * Starts a run, unless one is running. The lock is written before the capacity is raised: of two schedules that fire at once
 * one gets the lock, and after a crash in between the next check raises the capacity.
 *
 * @param due when the schedule fired. A schedule that fired before the end of the last run is a late copy: that run was its
 *   answer, or it was skipped as `run-in-progress`.
 */
export async function startRun(set: NamedSet, due: Date, deps: WarmingDeps): Promise<Outcome> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const last = await readRun(set, deps);
    const now = deps.clock.now();
    if (isRunning(last)) {
      const problem = await advanceRun(set, last, deps);
      // Past its deadline the run has ended now, as done or as failed.
      if (new Date(last.run.deadline) <= now) continue;
      return problem ? dead(problem) : skipped('run-in-progress', { startedAt: last.run.startedAt });
    }
    if (last && isLateCopy(due, last.run)) {
      return skipped('late-copy', { startedAt: last.run.startedAt });
    }
    const run: Run = {
      version: 1,
      set: set.name,
      group: set.group,
      state: 'running',
      due: due.toISOString(),
      startedAt: now.toISOString(),
      deadline: new Date(now.getTime() + set.deadlineMinutes * 60_000).toISOString(),
      failedInstances: [],
    };
    const written = await writeRun(run, last?.etag, deps);
    if (!isRunning(written)) return skipped('run-in-progress');
    const problem = await advanceRun(set, written, deps);
    return problem ? dead(problem) : done({ started: run.startedAt, deadline: run.deadline });
  }
  throw new RetryableError('run-contended', `the run of set ${set.name} changed during its end`);
}

/** Schedules fire at whole seconds. */
function isLateCopy(due: Date, run: Run): boolean {
  const end = Math.floor(endTime(run).getTime() / 1000) * 1000;
  return due.getTime() <= Date.parse(run.due) || due.getTime() < end;
}

/**
 * Takes a running run one step further. Without a snapshot: raises the capacity for its instance, or fails the run at its
 * deadline or when no instance is possible. With a snapshot: the run ends when the snapshot is evaluated, and at the deadline
 * whatever the evaluation does. The instance is not needed for that.
 *
 * @returns why the run failed, if it failed
 */
export async function advanceRun(
  set: NamedSet,
  stored: RunningRun,
  deps: WarmingDeps,
): Promise<CapacityProblem | 'deadline' | undefined> {
  const isOver = new Date(stored.run.deadline) <= deps.clock.now();
  const produced = await snapshotOfRun(set, stored, deps);
  if (produced) {
    if (!produced.isPending) await finishRun(set, produced.id, deps);
    else if (isOver) await endUnevaluated(set, stored, produced.id, deps);
    return undefined;
  }
  if (isOver) {
    await failRun(set, stored, 'deadline', deps);
    return 'deadline';
  }
  const problem = await scaleOutForRun(set, deps);
  if (problem) await failRun(set, stored, problem, deps);
  // When the run ended between its read and the raise of the capacity, nothing else lowers the capacity.
  else if (!isRunning(await readRun(set, deps))) await scaleIn(set, deps);
  return problem;
}

/** The newest snapshot of the run that is not quarantined. Pending: it is not evaluated yet. */
async function snapshotOfRun(
  set: NamedSet,
  { run }: StoredRun,
  deps: WarmingDeps,
): Promise<{ id: string; isPending: boolean } | undefined> {
  const produced = (await listSnapshots(set, deps)).filter(({ id }) => createdDuring(run, id));
  if (produced.length === 0) return undefined;
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  const id = produced.findLast((each) => !pointer || !isQuarantined(pointer, each.id))?.id;
  if (id === undefined) return undefined;
  return { id, isPending: !pointer || isPromotable(pointer, id) };
}

/** The running run, if the snapshot was created during it. */
export async function runThatProduced(
  set: NamedSet,
  snapshotId: string,
  deps: WarmingDeps,
): Promise<RunningRun | undefined> {
  const stored = await readRun(set, deps);
  return isRunning(stored) && createdDuring(stored.run, snapshotId) ? stored : undefined;
}

/**
 * Ends the run that produced `snapshotId` as done, if it is running. The capacity falls before the lock is released: after a
 * crash in between, a released lock would leave the instance without an owner.
 */
export async function finishRun(set: NamedSet, snapshotId: string, deps: WarmingDeps): Promise<void> {
  const stored = await runThatProduced(set, snapshotId, deps);
  if (!stored) return;
  await scaleIn(set, deps);
  const endedAt = deps.clock.now();
  const run: Run = { ...stored.run, state: 'done', endedAt: endedAt.toISOString(), snapshot: snapshotId };
  if (!(await writeRun(run, stored.etag, deps))) return;
  const seconds = (endedAt.getTime() - Date.parse(run.startedAt)) / 1000;
  deps.metrics.add('WarmingRunSeconds', seconds, { Set: set.name });
}

/**
 * Ends a run at its deadline whose snapshot is not evaluated yet. It is not measured: the evaluation can still fail the run, and
 * a run counts once.
 */
async function endUnevaluated(
  set: NamedSet,
  { run, etag }: StoredRun,
  snapshotId: string,
  deps: WarmingDeps,
): Promise<void> {
  await scaleIn(set, deps);
  const endedAt = deps.clock.now().toISOString();
  await writeRun({ ...run, state: 'done', endedAt, snapshot: snapshotId }, etag, deps);
}

/**
 * Ends a run as failed, lowers the capacity, and counts the failure once, however many invocations notice it.
 *
 * @returns whether this call ended the run
 */
export async function failRun(
  set: NamedSet,
  stored: StoredRun,
  reason: string,
  deps: WarmingDeps,
): Promise<boolean> {
  await scaleIn(set, deps);
  const run: Run = {
    ...stored.run,
    state: 'failed',
    endedAt: deps.clock.now().toISOString(),
    reason: reason.slice(0, MAX_REASON),
  };
  if (!(await writeRun(run, stored.etag, deps))) return false;
  deps.metrics.add('WarmingRunFailures', 1, { Set: set.name });
  deps.logger.warn('a warming run failed', { set: set.name, reason: run.reason });
  return true;
}

/** Fails the run of a snapshot that is broken, also when the run ended as done at its deadline. */
export async function failRunOf(
  set: NamedSet,
  snapshotId: string,
  reason: string,
  deps: WarmingDeps,
): Promise<void> {
  const stored = await readRun(set, deps);
  if (!stored) return;
  const { run } = stored;
  const produced = isRunning(stored) ? createdDuring(run, snapshotId) : run.snapshot === snapshotId;
  if (produced && run.state !== 'failed') await failRun(set, stored, reason, deps);
}

/** `Runner Failed` or `Runner Unhealthy` of an instance of a warming group. */
export async function handleFailedInstance(
  report: Extract<Report, { report: 'Runner Failed' | 'Runner Unhealthy' }>,
  deps: WarmingDeps,
): Promise<Outcome> {
  const failed: string[] = [];
  const recorded: string[] = [];
  for (const [name, settings] of Object.entries(deps.sets)) {
    if (settings.group !== report.group) continue;
    const set = { ...settings, name };
    const stored = await readRun(set, deps);
    // A late report of an instance of an earlier run does not concern this one.
    if (!isRunning(stored) || Date.parse(report.at) < Date.parse(stored.run.startedAt)) continue;
    // The instance has done its work, and a full disk or a failed drain does not change that.
    if (await snapshotOfRun(set, stored, deps)) continue;
    if (await endsRun(stored, report, deps)) {
      if (await failRun(set, stored, report.reason, deps)) failed.push(name);
    } else {
      recorded.push(name);
    }
  }
  if (failed.length > 0) return done({ failed });
  return recorded.length > 0 ? done({ recorded }) : skipped('no-run');
}

/**
 * Whether a report ends the run. A failure of the warming run itself does. Any other failure can be of an instance that belongs
 * to the minimum of the group and has no part in the run: it is recorded, once per instance.
 */
async function endsRun(
  { run, etag }: StoredRun,
  report: Extract<Report, { report: 'Runner Failed' | 'Runner Unhealthy' }>,
  deps: WarmingDeps,
): Promise<boolean> {
  if (report.report === 'Runner Unhealthy' && report.reason.startsWith(WARMING_RUN_FAILED)) return true;
  const failedInstances = [...new Set([...run.failedInstances, report.instanceId])];
  if (failedInstances.length >= MAX_FAILED_INSTANCES) return true;
  if (failedInstances.length === run.failedInstances.length) return false;
  if (await writeRun({ ...run, failedInstances }, etag, deps)) return false;
  throw new RetryableError('run-contended', `the run of set ${run.set} changed during a report`);
}

/**
 * Raises the desired capacity of the warming group to one above its minimum. An instance runs the warming command once, when it
 * boots, and the instances of the minimum have booted before the run.
 */
async function scaleOutForRun(set: NamedSet, deps: WarmingDeps): Promise<CapacityProblem | undefined> {
  const name = groupName(set, deps.prefix);
  const capacity = await deps.capacity.describe(name);
  if (!capacity) return 'no-warming-group';
  const needed = capacity.min + 1;
  if (capacity.max < needed) return 'no-room';
  if (capacity.desired < needed) await deps.capacity.setDesired(name, needed);
  return undefined;
}

/** Lowers the desired capacity of the warming group to its minimum. The instance goes through its terminate hook. */
export async function scaleIn(set: NamedSet, deps: WarmingDeps): Promise<void> {
  const name = groupName(set, deps.prefix);
  const capacity = await deps.capacity.describe(name);
  if (capacity && capacity.desired > capacity.min) await deps.capacity.setDesired(name, capacity.min);
}

function groupName(set: NamedSet, prefix: string): string {
  const group = parseGroupId(set.group);
  if (!group) throw new ConfigurationError(`warming set ${set.name} names no group: ${set.group}`);
  return autoScalingGroupName(prefix, group);
}
