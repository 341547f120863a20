import type { UrlAnswer } from '../../shared/runtime/define-url-function.ts';
import { denied, refused } from './answers.ts';
import type { Runner } from './caller.ts';
import type { RegistrationDeps } from './ports.ts';

/** Life of a positive answer, in milliseconds: Auto Scaling's Describe calls have a low rate for the whole account. */
const IN_SERVICE_MS = 30_000;

/** When an instance comes back that is not InService, in seconds. */
const NOT_IN_SERVICE_SECONDS = 2;

/** Most instances that are remembered; then all are forgotten, which costs a call each. */
const MAX_REMEMBERED = 10_000;

/**
 * Why an instance gets no registration now, or undefined if it is InService in its group. It is how an instance finds its own state:
 * the instance metadata has the target state only, which is InService throughout the launch hook.
 */
export async function lifecycleRefusal(
  { instanceId, group }: Runner,
  { autoScaling, inService, metrics, clock }: RegistrationDeps,
): Promise<UrlAnswer | undefined> {
  const now = clock.now().getTime();
  const seen = inService.get(instanceId);
  if (seen !== undefined && now - seen < IN_SERVICE_MS) return undefined;
  inService.delete(instanceId);
  const state = await autoScaling.describeInstance(instanceId);
  if (!state) return refused('terminating', 0, { lifecycleState: 'none' });
  const { autoScalingGroup, lifecycleState } = state;
  if (autoScalingGroup !== group.settings.autoScalingGroup) {
    metrics.add('DeniedRequests', 1, {});
    return denied('foreign-group', { group: group.id, autoScalingGroup });
  }
  if (/^(Terminat|Detach)/.test(lifecycleState)) return refused('terminating', 0, { lifecycleState });
  if (lifecycleState !== 'InService') {
    return refused('not-in-service', NOT_IN_SERVICE_SECONDS, { lifecycleState });
  }
  if (inService.size >= MAX_REMEMBERED) inService.clear();
  inService.set(instanceId, now);
  return undefined;
}
