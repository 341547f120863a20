import type { HookPhase } from '../../shared/fleet/names.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import type { AutoScalingPort, InstanceState } from './ports.ts';

/**
 * States in which a hook is waiting or is about to, also on the way into a warm pool and out of it. (Auto Scaling User
 * Guide, "Instance lifecycle" and "Warm pools".)
 */
const AWAITS: Record<HookPhase, RegExp> = {
  boot: /^(?:Warmed:)?Pending(?::Wait)?$/,
  drain: /^(?:Warmed:)?Terminating(?::Wait)?$/,
};

/** Whether a call about the phase's hook that found no action may find one later. */
export function awaitsHook(phase: HookPhase, lifecycleState: string): boolean {
  return AWAITS[phase].test(lifecycleState);
}

/** Whether the instance is on its way out already, or gone. */
export function isLeaving(lifecycleState: string): boolean {
  return /Terminat/.test(lifecycleState);
}

/** Whether the instance serves or is about to. Not so one in standby, detached or in a warm pool: somebody holds it there. */
export function isServing(lifecycleState: string): boolean {
  return lifecycleState === 'InService' || /^Pending(?::|$)/.test(lifecycleState);
}

/**
 * Where the sender of a report stands, or undefined if no group has it any more.
 *
 * @throws {PermanentError} `forged-group` if it stands in another group than its report says
 */
export async function standingOf(
  { instanceId, autoScalingGroup }: { instanceId: string; autoScalingGroup: string },
  autoScaling: AutoScalingPort,
): Promise<InstanceState | undefined> {
  const instance = await autoScaling.describeInstance(instanceId);
  if (instance && instance.autoScalingGroup !== autoScalingGroup) {
    throw new PermanentError(
      'forged-group',
      `instance ${instanceId} is in group ${instance.autoScalingGroup}, and reports as one of ${autoScalingGroup}`,
    );
  }
  return instance;
}
