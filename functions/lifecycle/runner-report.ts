import { type HookPhase, hookName } from '../../shared/fleet/names.ts';
import { AGENT_TOO_OLD, type Report } from '../../shared/fleet/report.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { addLogFields } from '../../shared/runtime/logger.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { admitReplacement, drainSince, noteDrain, type RecordDeps } from './group-record.ts';
import type { GroupRoles, SenderGroup } from './group-roles.ts';
import { isAwaitingHook, isInServiceOrLaunching, isTerminating, senderState } from './lifecycle-state.ts';
import type { AutoScalingPort, EventPublisher, HookAction } from './ports.ts';
import type { ReportLimits } from './report-limits.ts';
import { dropWhenStale, STALE_MS } from './stale.ts';
import { terminateAndReplace, terminateIdle } from './terminate.ts';
import { verifyReport } from './verify-report.ts';

type Context = {
  prefix: string;
  autoScaling: AutoScalingPort;
  roles: GroupRoles;
  limits: ReportLimits;
  events: EventPublisher;
  metrics: MetricSink;
  ageMs: number;
} & RecordDeps;

type ReportOf<Name extends Report['report']> = Extract<Report, { report: Name }>;

/**
 * How long the end of a launch waits for the event bus, in milliseconds. Other instances report the same snapshot, so a longer
 * outage of the bus loses nothing that matters more than the launch.
 */
const PUBLISH_MS = 60_000;

/**
 * How long after the limit of a drain its heartbeats still count, in seconds. A runner sends none after the limit, but its drain
 * begins a moment before the first heartbeat arrives.
 */
const DRAIN_SLACK_SECONDS = 300;

/**
 * A drain that is reported as longer than this is noted, in seconds. From then on the metric of its length, which pages before Auto
 * Scaling ends the instance, is at most so much more than what has passed since the note.
 */
const SHORT_DRAIN_SECONDS = 3_600;

/**
 * Applies a report, and publishes what other functions act on: a failed boot, a broken snapshot and an unhealthy runner. Reports of
 * a boot are published first: afterwards the instance may be gone, and nothing would confirm the group of its sender. Only an instance
 * that still launches can report a boot. No job has run on it, so no job can have forged the report.
 */
export async function handleReport(message: Message, context: Context): Promise<Outcome> {
  const { report, roleId } = verifyReport(message, context.prefix);
  if (context.limits.isRepeated(message, report))
    return context.limits.drop(skipped('repeated'), message.senderId);
  addLogFields({ report });
  const handled = () => handleVerified(report, roleId, message.sentAt, context);
  return report.report === 'Runner Heartbeat' ? dropWhenStale(context.ageMs, handled) : handled();
}

async function handleVerified(
  report: Report,
  roleId: string,
  sentAt: Date,
  context: Context,
): Promise<Outcome> {
  const { autoScalingGroup } = report;
  const group = await context.roles.check({ autoScalingGroup, roleId, sentAt: sentAt.getTime() });
  if (group === 'unknown-group') return skipped('group-gone');
  const outcome = await applyReport(report, group, context);
  if (outcome.outcome === 'done') recordMeasurements(report, context.metrics);
  return outcome;
}

async function applyReport(report: Report, sender: SenderGroup, context: Context): Promise<Outcome> {
  switch (report.report) {
    case 'Runner Heartbeat':
      return recordHeartbeat(report, sender, context);
    case 'Runner Ready':
      await publishBrokenSnapshot(report, sender.warmingSet, context);
      return completeHook(report, 'boot', 'CONTINUE', context);
    case 'Runner Failed':
      return abandonLaunch(report, context);
    case 'Runner Drained':
      return completeHook(report, 'drain', 'CONTINUE', context);
    case 'Runner Cache':
      return done();
    case 'Runner Idle':
      // The report describes the past. An instance that is still idle reports again.
      if (context.ageMs > STALE_MS) return skipped('stale');
      return withSenderState(report, context, (state) => terminateIdle(report, state, context.autoScaling));
    case 'Runner Unhealthy':
      return withSenderState(report, context, (state) => replaceUnhealthy(report, state, context));
  }
}

/** Publishes a Ready that names a broken snapshot, if the instance launches and the snapshot is of the set of its group. */
async function publishBrokenSnapshot(
  report: ReportOf<'Runner Ready'>,
  warmingSet: string | undefined,
  { autoScaling, events, ageMs }: Context,
): Promise<void> {
  const { broken, set } = report.snapshot;
  if (!broken || set !== warmingSet) return;
  const instance = await senderState(report, autoScaling);
  if (!instance || !isAwaitingHook('boot', instance.lifecycleState)) return;
  try {
    await events.publish(report);
  } catch (error) {
    if (ageMs < PUBLISH_MS) throw error;
    addLogFields({ unpublished: errorText(error) });
  }
}

async function abandonLaunch(report: ReportOf<'Runner Failed'>, context: Context): Promise<Outcome> {
  const instance = await senderState(report, context.autoScaling);
  if (!instance) return skipped('instance-gone');
  if (isAwaitingHook('boot', instance.lifecycleState)) await context.events.publish(report);
  return completeHook(report, 'boot', 'ABANDON', context);
}

/**
 * Replaces a runner that reports a fault. A job can make its runner report one, so a group has a limit per hour. Above it nothing
 * is done at once: an alarm starts, and `reconcile` replaces the runner when the limit allows it.
 */
async function replaceUnhealthy(
  report: ReportOf<'Runner Unhealthy'>,
  lifecycleState: string,
  context: Context,
): Promise<Outcome> {
  const outcome = await terminateUnhealthy(report, lifecycleState, context);
  // A warming run that failed ends afterwards: its scale-in and this termination would meet.
  if (outcome.outcome !== 'retry') await context.events.publish(report);
  return outcome;
}

async function terminateUnhealthy(
  { group, instanceId, autoScalingGroup }: ReportOf<'Runner Unhealthy'>,
  lifecycleState: string,
  context: Context,
): Promise<Outcome> {
  if (isInServiceOrLaunching(lifecycleState)) {
    const desired = (await context.autoScaling.describeGroup(autoScalingGroup))?.desired ?? 0;
    if (!(await admitReplacement(group, instanceId, desired, context))) {
      context.metrics.add('HeldRunners', 1, { Group: group });
      return skipped('too-many-replacements', { desired });
    }
  }
  return terminateAndReplace(instanceId, lifecycleState, context.autoScaling);
}

/**
 * Extends the hook, unless the drain has reached the limit of its group: a job that has taken the role of its instance could hold
 * it otherwise. The begin of the drain is what this function has noted, not what the report contains.
 */
async function recordHeartbeat(
  report: ReportOf<'Runner Heartbeat'>,
  { drainTimeoutSeconds: limit = Number.POSITIVE_INFINITY }: SenderGroup,
  context: Context,
): Promise<Outcome> {
  const { group, instanceId, phase } = report;
  const reported = report.seconds?.drain ?? 0;
  const isNoted = phase === 'drain' && (limit < Number.POSITIVE_INFINITY || reported > SHORT_DRAIN_SECONDS);
  const since = isNoted ? await knownDrain(group, instanceId, context) : undefined;
  const drain = since instanceof Date ? (context.clock.now().getTime() - since.getTime()) / 1_000 : 0;
  if (drain > limit + DRAIN_SLACK_SECONDS) return skipped('drain-limit-reached', { drain, limit });
  const result = await context.autoScaling.heartbeat(hookAction(report, phase, context.prefix));
  // The next heartbeat is a minute away, so a heartbeat without an active action needs no further call.
  if (!result.applied) return skipped('no-active-action', result);
  if (isNoted && since === undefined) await noteDrain(group, instanceId, context);
  if (phase === 'drain' && report.seconds) {
    const longest = since === 'unknown' ? reported : SHORT_DRAIN_SECONDS + drain;
    context.metrics.add('DrainingSeconds', Math.min(reported, longest), { Group: group });
  }
  return done();
}

/** The noted begin of a drain; undefined if none is noted. A record that cannot be read ends no drain. */
async function knownDrain(
  group: string,
  instanceId: string,
  context: Context,
): Promise<Date | undefined | 'unknown'> {
  try {
    return await drainSince(group, instanceId, context);
  } catch (error) {
    addLogFields({ unread: errorText(error) });
    return 'unknown';
  }
}

async function completeHook(
  report: Report,
  phase: HookPhase,
  result: 'CONTINUE' | 'ABANDON',
  context: Context,
): Promise<Outcome> {
  const action = hookAction(report, phase, context.prefix);
  const change = await context.autoScaling.complete(action, result);
  if (change.applied) {
    // On-call reads the reason in the log after the alarm on failed launches.
    const failure = report.report === 'Runner Failed' ? { stage: report.stage, why: report.reason } : {};
    return done({ completed: action.hook, result, ...failure });
  }
  // Too late or too early? The error is the same; the state of the instance decides.
  return withSenderState(report, context, async (lifecycleState) => {
    const detail = { lifecycleState, ...change };
    if (isAwaitingHook(phase, lifecycleState)) return retryLater('hook-not-active-yet', { detail });
    if (phase === 'drain' && !isTerminating(lifecycleState)) return skipped('not-terminating', detail);
    return skipped('hook-completed', detail);
  });
}

async function withSenderState(
  report: Report,
  { autoScaling }: Context,
  act: (lifecycleState: string) => Promise<Outcome>,
): Promise<Outcome> {
  const instance = await senderState(report, autoScaling);
  // Credentials outlive their instance, so the group of a terminated instance cannot be confirmed.
  return instance ? act(instance.lifecycleState) : skipped('instance-gone');
}

/** Records the measurements of a report that changed something, so that a report which is received twice counts once. */
function recordMeasurements(report: Report, metrics: MetricSink): void {
  const Group = report.group;
  switch (report.report) {
    case 'Runner Ready':
      metrics.add('RunnerBootSeconds', report.seconds.boot, { Group });
      metrics.add('RestoreSeconds', report.seconds.restore, { Group, Outcome: report.snapshot.outcome });
      break;
    case 'Runner Failed':
      metrics.add('LaunchFailures', 1, { Group });
      break;
    case 'Runner Drained':
      if (report.seconds) metrics.add('DrainSeconds', report.seconds.drain, { Group });
      break;
    case 'Runner Cache':
      metrics.add('CacheHits', report.cache.hits, { Group });
      metrics.add('CacheMisses', report.cache.misses, { Group });
      metrics.add('CacheServedBytes', report.cache.servedBytes, { Group });
      metrics.add('CacheStoredBytes', report.cache.storedBytes, { Group });
      metrics.add('CacheDroppedUploads', report.cache.dropped, { Group });
      metrics.add('CacheFailures', report.cache.failures, { Group });
      break;
    case 'Runner Unhealthy':
      metrics.add('UnhealthyRunners', 1, { Group });
      if (report.reason.startsWith(AGENT_TOO_OLD)) metrics.add('OldAgents', 1, { Group });
      break;
    default:
      break;
  }
}

function hookAction({ autoScalingGroup, instanceId }: Report, phase: HookPhase, prefix: string): HookAction {
  return { autoScalingGroup, hook: hookName(prefix, phase), instanceId };
}
