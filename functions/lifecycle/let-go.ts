import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import type { AutoScalingPort } from './ports.ts';
import { isLeaving, isServing } from './standing.ts';

/**
 * Lets an instance go that has nothing to do, and the group shrink by it. Several may ask at once: Auto Scaling
 * refuses the one that would take the group below its minimum.
 *
 * @param lifecycleState where it stands now
 */
export async function letIdleGo(
  { instanceId, autoScalingGroup }: { instanceId: string; autoScalingGroup: string },
  lifecycleState: string,
  autoScaling: AutoScalingPort,
): Promise<Outcome> {
  if (lifecycleState !== 'InService') return skipped('not-in-service', { lifecycleState });
  const group = await autoScaling.describeGroup(autoScalingGroup);
  if (!group) return skipped('group-gone');
  if (group.desired <= group.min) return skipped('at-minimum', group);
  const answer = await autoScaling.terminate(instanceId, true);
  return answer.applied ? done({ terminated: instanceId }) : skipped('terminate-refused', answer);
}

/**
 * Lets an instance go through its terminate hook, so that its job ends first, and has it replaced at once.
 *
 * @param lifecycleState where it stands now
 */
export async function replace(
  instanceId: string,
  lifecycleState: string,
  autoScaling: AutoScalingPort,
): Promise<Outcome> {
  if (isLeaving(lifecycleState)) return skipped('leaving-already', { lifecycleState });
  if (!isServing(lifecycleState)) return skipped('held-by-operator', { lifecycleState });
  const answer = await autoScaling.terminate(instanceId, false);
  if (answer.applied) return done({ replaced: instanceId });
  const now = await autoScaling.describeInstance(instanceId);
  if (!now || isLeaving(now.lifecycleState)) return skipped('leaving-already');
  return retryLater('terminate-refused', { detail: answer });
}
