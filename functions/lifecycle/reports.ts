import { type HookPhase, hookName } from '../../shared/fleet/names.ts';
import type { Report } from '../../shared/fleet/report.ts';
import { done, type Ending, retryLater, skipped } from '../../shared/runtime/ending.ts';
import type { AutoScalingPort } from './ports.ts';

/** The states in which an instance waits for each hook (also in a warm pool: `Warmed:Pending:Wait`). */
const WAITING: Record<HookPhase, RegExp> = { boot: /Pending:Wait$/, drain: /Terminating:Wait$/ };

/** An instance that is about to wait: the hook's action begins within moments. */
const ABOUT_TO_WAIT: Record<HookPhase, RegExp> = { boot: /Pending$/, drain: /(^|:)Terminating$/ };

/** An instance that is on its way out already. */
const LEAVING = /Terminat/;

export type ReportContext = { prefix: string; autoScaling: AutoScalingPort };

/** Does what a verified report asks for. The same report again, at any later time, changes nothing more. */
export function actOn(report: Report, context: ReportContext): Promise<Ending> {
  switch (report.report) {
    case 'Runner Heartbeat':
      return beat(report, context);
    case 'Runner Ready':
      return complete(report, 'boot', 'CONTINUE', context);
    case 'Runner Failed':
      return complete(report, 'boot', 'ABANDON', context);
    case 'Runner Drained':
      return complete(report, 'drain', 'CONTINUE', context);
    case 'Runner Idle':
      return letIdleGo(report, context);
    case 'Runner Unhealthy':
      return replace(report.instanceId, report.autoScalingGroup, context.autoScaling);
  }
}

async function beat(
  report: Extract<Report, { report: 'Runner Heartbeat' }>,
  { prefix, autoScaling }: ReportContext,
): Promise<Ending> {
  const outcome = await autoScaling.heartbeat({
    autoScalingGroup: report.autoScalingGroup,
    hook: hookName(prefix, report.phase),
    instanceId: report.instanceId,
  });
  // The next one is a minute away: one that has nothing to prolong is not worth a second look.
  return outcome === 'applied' ? done() : skipped('no-active-action');
}

async function complete(
  report: Report,
  phase: HookPhase,
  result: 'CONTINUE' | 'ABANDON',
  { prefix, autoScaling }: ReportContext,
): Promise<Ending> {
  const { autoScalingGroup, instanceId } = report;
  const action = { autoScalingGroup, hook: hookName(prefix, phase), instanceId };
  if ((await autoScaling.complete(action, result)) === 'applied')
    return done({ completed: action.hook, result });
  // Stale or premature? The error is the same; only the instance's state tells.
  const instance = await autoScaling.describeInstance(instanceId);
  if (!instance) return skipped('instance-gone');
  if (instance.autoScalingGroup !== autoScalingGroup) return skipped('not-in-group');
  const { lifecycleState } = instance;
  if (WAITING[phase].test(lifecycleState) || ABOUT_TO_WAIT[phase].test(lifecycleState)) {
    return retryLater('hook-not-active-yet', { afterSeconds: 2, detail: { lifecycleState } });
  }
  return skipped('hook-is-over', { lifecycleState });
}

async function letIdleGo(report: Report, { autoScaling }: ReportContext): Promise<Ending> {
  const { autoScalingGroup, instanceId } = report;
  const instance = await autoScaling.describeInstance(instanceId);
  if (!instance || instance.autoScalingGroup !== autoScalingGroup) return skipped('not-in-group');
  if (instance.lifecycleState !== 'InService') {
    return skipped('not-in-service', { lifecycleState: instance.lifecycleState });
  }
  const group = await autoScaling.describeGroup(autoScalingGroup);
  if (!group) return skipped('group-gone');
  if (group.desired <= group.min) return skipped('at-minimum', group);
  // Several idle runners may ask at once: AWS refuses the one that would go below the minimum.
  const outcome = await autoScaling.terminate(instanceId, true);
  return outcome === 'applied' ? done({ terminated: instanceId }) : skipped(`terminate-${outcome}`);
}

/** Lets an instance go through its terminate hook, and has it replaced at once. */
export async function replace(
  instanceId: string,
  autoScalingGroup: string,
  autoScaling: AutoScalingPort,
): Promise<Ending> {
  const instance = await autoScaling.describeInstance(instanceId);
  if (!instance || instance.autoScalingGroup !== autoScalingGroup) return skipped('not-in-group');
  if (LEAVING.test(instance.lifecycleState)) return skipped('leaving-already');
  const outcome = await autoScaling.terminate(instanceId, false);
  return outcome === 'applied' ? done({ replaced: instanceId }) : skipped(`terminate-${outcome}`);
}
