import { type HookPhase, hookName } from '../../shared/fleet/names.ts';
import type { Report } from '../../shared/fleet/report.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { FRESH_MS, whileFresh } from './freshness.ts';
import { letIdleGo, replace } from './let-go.ts';
import type { AutoScalingPort, HookAction } from './ports.ts';
import { awaitsHook, isLeaving, standingOf } from './standing.ts';

export type ReportContext = { prefix: string; autoScaling: AutoScalingPort; ageMs: number };

/** What came of a report, and whether Auto Scaling has confirmed that its sender is in the group that it names. */
export type ReportResult = { outcome: Outcome; confirmed: boolean };

/** Does what a verified report asks for. The same report again, at any later time, changes nothing more. */
export async function actOn(report: Report, context: ReportContext): Promise<ReportResult> {
  switch (report.report) {
    case 'Runner Heartbeat':
      // Between a runner and its hook; nobody else listens to one a minute from each, so it needs no confirming.
      return { outcome: await beat(report, context), confirmed: false };
    case 'Runner Ready':
      return complete(report, 'boot', 'CONTINUE', context);
    case 'Runner Failed':
      return complete(report, 'boot', 'ABANDON', context);
    case 'Runner Drained':
      return complete(report, 'drain', 'CONTINUE', context);
    case 'Runner Idle':
      return idle(report, context);
    case 'Runner Unhealthy':
      return whereItStands(report, context, (state) =>
        replace(report.instanceId, state, context.autoScaling),
      );
  }
}

function beat(
  report: Extract<Report, { report: 'Runner Heartbeat' }>,
  { prefix, autoScaling, ageMs }: ReportContext,
): Promise<Outcome> {
  return whileFresh(ageMs, async () => {
    const answer = await autoScaling.heartbeat(hookOf(report, report.phase, prefix));
    // The next one is a minute away: one that has nothing to prolong is not worth a second look.
    return answer.applied ? done() : skipped('no-active-action', answer);
  });
}

async function complete(
  report: Report,
  phase: HookPhase,
  result: 'CONTINUE' | 'ABANDON',
  context: ReportContext,
): Promise<ReportResult> {
  const action = hookOf(report, phase, context.prefix);
  const answer = await context.autoScaling.complete(action, result);
  if (answer.applied) {
    // On-call asks the log why, when the alarm on failed launches has gone off.
    const why = report.report === 'Runner Failed' ? { stage: report.stage, why: report.reason } : {};
    return { outcome: done({ completed: action.hook, result, ...why }), confirmed: true };
  }
  // Stale or premature? The error is the same; only the instance's state tells.
  return whereItStands(report, context, async (lifecycleState) => {
    const detail = { lifecycleState, ...answer };
    if (awaitsHook(phase, lifecycleState)) return retryLater('hook-not-active-yet', { detail });
    if (phase === 'drain' && !isLeaving(lifecycleState)) return skipped('not-leaving', detail);
    return skipped('hook-is-over', detail);
  });
}

async function idle(report: Report, context: ReportContext): Promise<ReportResult> {
  // It was idle then, and says so again if it still is.
  if (context.ageMs > FRESH_MS) return { outcome: skipped('outdated'), confirmed: false };
  return whereItStands(report, context, (state) => letIdleGo(report, state, context.autoScaling));
}

async function whereItStands(
  report: Report,
  { autoScaling }: ReportContext,
  act: (lifecycleState: string) => Promise<Outcome>,
): Promise<ReportResult> {
  const instance = await standingOf(report, autoScaling);
  // Credentials outlive their instance: of one that is gone, nobody can say which group it belonged to.
  if (!instance) return { outcome: skipped('instance-gone'), confirmed: false };
  return { outcome: await act(instance.lifecycleState), confirmed: true };
}

function hookOf({ autoScalingGroup, instanceId }: Report, phase: HookPhase, prefix: string): HookAction {
  return { autoScalingGroup, hook: hookName(prefix, phase), instanceId };
}
