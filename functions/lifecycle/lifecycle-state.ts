import type { HookPhase } from '../../shared/fleet/names.ts';
import { PermanentError } from '../../shared/runtime/errors.ts';
import type { AutoScalingPort, InstanceState } from './ports.ts';

/**
 * States in which a hook is active or about to become active, also on the way into and out of a warm pool (Auto Scaling User
 * Guide, "Instance lifecycle" and "Warm pools").
 */
const AWAITING_HOOK: Record<HookPhase, RegExp> = {
  boot: /^(?:Warmed:)?Pending(?::Wait)?$/,
  drain: /^(?:Warmed:)?Terminating(?::Wait)?$/,
};

/** Whether a call about the hook of `phase` that found no action can find one later. */
export function isAwaitingHook(phase: HookPhase, lifecycleState: string): boolean {
  return AWAITING_HOOK[phase].test(lifecycleState);
}

/** Whether the instance terminates or is terminated. */
export function isTerminating(lifecycleState: string): boolean {
  return /Terminat/.test(lifecycleState);
}

/** Whether the instance is in service or launches. An operator holds it in standby, detached or in a warm pool. */
export function isInServiceOrLaunching(lifecycleState: string): boolean {
  return lifecycleState === 'InService' || /^Pending(?::|$)/.test(lifecycleState);
}

/**
 * The state of the sender of a report, or undefined if no group contains it any more.
 *
 * @throws {PermanentError} `forged-group` if the instance is in another group than its report names
 */
export async function senderState(
  { instanceId, autoScalingGroup }: { instanceId: string; autoScalingGroup: string },
  autoScaling: AutoScalingPort,
): Promise<InstanceState | undefined> {
  const instance = await autoScaling.describeInstance(instanceId);
  if (instance && instance.autoScalingGroup !== autoScalingGroup) {
    throw new PermanentError(
      'forged-group',
      `instance ${instanceId} is in group ${instance.autoScalingGroup}; its report names ${autoScalingGroup}`,
    );
  }
  return instance;
}
