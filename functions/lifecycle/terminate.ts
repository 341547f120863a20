import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { isInServiceOrLaunching, isTerminating } from './lifecycle-state.ts';
import type { AutoScalingPort } from './ports.ts';

/**
 * Terminates an idle instance and decrements the desired capacity. When several instances are idle at once, Auto Scaling
 * refuses the termination that would take the group below its minimum.
 *
 * @param lifecycleState the present state
 */
export async function terminateIdle(
  { instanceId, autoScalingGroup }: { instanceId: string; autoScalingGroup: string },
  lifecycleState: string,
  autoScaling: AutoScalingPort,
): Promise<Outcome> {
  if (lifecycleState !== 'InService') return skipped('not-in-service', { lifecycleState });
  const group = await autoScaling.describeGroup(autoScalingGroup);
  if (!group) return skipped('group-gone');
  const { min, desired } = group;
  if (desired <= min) return skipped('at-minimum', { min, desired });
  const result = await autoScaling.terminate(instanceId, true);
  return result.applied ? done({ terminated: instanceId }) : skipped('terminate-refused', result);
}

/**
 * Terminates an instance through its terminate hook, so that its job ends first. Auto Scaling launches the replacement at once.
 *
 * @param lifecycleState the present state
 */
export async function terminateAndReplace(
  instanceId: string,
  lifecycleState: string,
  autoScaling: AutoScalingPort,
): Promise<Outcome> {
  if (isTerminating(lifecycleState)) return skipped('already-terminating', { lifecycleState });
  if (!isInServiceOrLaunching(lifecycleState)) return skipped('held-by-operator', { lifecycleState });
  const result = await autoScaling.terminate(instanceId, false);
  if (result.applied) return done({ replaced: instanceId });
  const present = await autoScaling.describeInstance(instanceId);
  if (!present || isTerminating(present.lifecycleState)) return skipped('already-terminating');
  return retryLater('terminate-refused', { detail: result });
}
