import { type HookPhase, hookName } from '../../shared/fleet/names.ts';
import { AGENT_TOO_OLD, type Report } from '../../shared/fleet/report.ts';
import { addLogFields } from '../../shared/runtime/logger.ts';
import type { Message } from '../../shared/runtime/message.ts';
import type { MetricSink } from '../../shared/runtime/metrics.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import type { GroupRoles } from './group-roles.ts';
import { isAwaitingHook, isTerminating, senderState } from './lifecycle-state.ts';
import type { AutoScalingPort, EventPublisher, HookAction } from './ports.ts';
import { dropWhenStale, STALE_MS } from './stale.ts';
import { terminateAndReplace, terminateIdle } from './terminate.ts';
import { verifyReport } from './verify-report.ts';

type Context = {
  prefix: string;
  autoScaling: AutoScalingPort;
  roles: GroupRoles;
  events: EventPublisher;
  metrics: MetricSink;
  ageMs: number;
};

/** An outcome, and whether Auto Scaling has confirmed that the sender belongs to the group of its report. */
type Handled = { outcome: Outcome; confirmed: boolean };

type ReportOf<Name extends Report['report']> = Extract<Report, { report: Name }>;

/** Whether a report is published after it is applied: `warming` acts on unhealthy runners and on broken snapshots. */
function isPublished(report: Report): boolean {
  if (report.report === 'Runner Ready') return Boolean(report.snapshot.broken);
  return report.report === 'Runner Unhealthy';
}

/**
 * Applies a report and then publishes it. A report that is received again changes nothing more, and is published again: when
 * the event bus refuses it, the next receive finds the hook completed and publishes.
 */
export async function handleReport(message: Message, context: Context): Promise<Outcome> {
  const { report, roleId } = verifyReport(message, context.prefix);
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
  const check = await context.roles.check({ autoScalingGroup, roleId, sentAt: sentAt.getTime() });
  if (check === 'unknown-group') return skipped('group-gone');
  const { outcome, confirmed } = await applyReport(report, context);
  if (outcome.outcome === 'done') recordMeasurements(report, context.metrics);
  if (confirmed && outcome.outcome !== 'retry' && isPublished(report)) {
    await context.events.publish(report);
  }
  return outcome;
}

async function applyReport(report: Report, context: Context): Promise<Handled> {
  switch (report.report) {
    case 'Runner Heartbeat':
      return { outcome: await recordHeartbeat(report, context), confirmed: false };
    case 'Runner Ready':
      return completeHook(report, 'boot', 'CONTINUE', context);
    case 'Runner Failed':
      return abandonLaunch(report, context);
    case 'Runner Drained':
      return completeHook(report, 'drain', 'CONTINUE', context);
    case 'Runner Idle':
      // The report describes the past. An instance that is still idle reports again.
      if (context.ageMs > STALE_MS) return { outcome: skipped('stale'), confirmed: false };
      return withSenderState(report, context, (state) => terminateIdle(report, state, context.autoScaling));
    case 'Runner Unhealthy':
      return withSenderState(report, context, (state) =>
        terminateAndReplace(report.instanceId, state, context.autoScaling),
      );
  }
}

/**
 * Publishes the failed boot before it abandons the launch: after that the instance is soon gone, and when the event bus refuses
 * the report, nothing confirms the group of the sender at the next receive.
 */
async function abandonLaunch(report: ReportOf<'Runner Failed'>, context: Context): Promise<Handled> {
  const instance = await senderState(report, context.autoScaling);
  if (!instance) return { outcome: skipped('instance-gone'), confirmed: false };
  await context.events.publish(report);
  return completeHook(report, 'boot', 'ABANDON', context);
}

async function recordHeartbeat(
  report: ReportOf<'Runner Heartbeat'>,
  { prefix, autoScaling }: Context,
): Promise<Outcome> {
  const result = await autoScaling.heartbeat(hookAction(report, report.phase, prefix));
  // The next heartbeat is a minute away, so a heartbeat without an active action needs no further call.
  return result.applied ? done() : skipped('no-active-action', result);
}

async function completeHook(
  report: Report,
  phase: HookPhase,
  result: 'CONTINUE' | 'ABANDON',
  context: Context,
): Promise<Handled> {
  const action = hookAction(report, phase, context.prefix);
  const change = await context.autoScaling.complete(action, result);
  if (change.applied) {
    // On-call reads the reason in the log after the alarm on failed launches.
    const failure = report.report === 'Runner Failed' ? { stage: report.stage, why: report.reason } : {};
    return { outcome: done({ completed: action.hook, result, ...failure }), confirmed: true };
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
): Promise<Handled> {
  const instance = await senderState(report, autoScaling);
  // Credentials outlive their instance, so the group of a terminated instance cannot be confirmed.
  if (!instance) return { outcome: skipped('instance-gone'), confirmed: false };
  return { outcome: await act(instance.lifecycleState), confirmed: true };
}

/** Records the measurements of a report that changed something, so that a report which is received twice counts once. */
function recordMeasurements(report: Report, metrics: MetricSink): void {
  const Group = report.group;
  switch (report.report) {
    case 'Runner Ready':
      metrics.add('RunnerBootSeconds', report.seconds.boot, { Group });
      metrics.add('RestoreSeconds', report.seconds.restore, { Group, Outcome: report.snapshot.outcome });
      break;
    case 'Runner Heartbeat':
      if (report.phase === 'drain' && report.seconds) {
        metrics.add('DrainingSeconds', report.seconds.drain, { Group });
      }
      break;
    case 'Runner Failed':
      metrics.add('LaunchFailures', 1, { Group });
      break;
    case 'Runner Drained':
      if (report.seconds) metrics.add('DrainSeconds', report.seconds.drain, { Group });
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
