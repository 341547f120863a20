import type { UrlAnswer } from '../../shared/runtime/define-url-function.ts';
import { denied, refused } from './answers.ts';
import type { Runner } from './caller.ts';
import type { InstanceState, RegistrationDeps } from './ports.ts';

/** Life of a positive answer, in milliseconds: Auto Scaling's Describe calls have a low rate for the whole account. */
const IN_SERVICE_MS = 30_000;

/**
 * Life of every other answer, in milliseconds, but for an instance that launches: it waits for the change, and no job that could send
 * a flood of requests runs on it yet.
 */
const OTHER_MS = 1_000;

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
  deps: RegistrationDeps,
): Promise<UrlAnswer | undefined> {
  const state = await stateOf(instanceId, deps);
  if (!state) return refused('terminating', 0, { lifecycleState: 'none' });
  const { autoScalingGroup, lifecycleState } = state;
  if (autoScalingGroup !== group.settings.autoScalingGroup) {
    deps.metrics.add('DeniedRequests', 1, {});
    return denied('foreign-group', { group: group.id, autoScalingGroup });
  }
  if (/^(Terminat|Detach)/.test(lifecycleState)) return refused('terminating', 0, { lifecycleState });
  if (lifecycleState !== 'InService') {
    return refused('not-in-service', NOT_IN_SERVICE_SECONDS, { lifecycleState });
  }
  return undefined;
}

async function stateOf(
  instanceId: string,
  { autoScaling, states, clock }: RegistrationDeps,
): Promise<InstanceState | undefined> {
  const now = clock.now().getTime();
  const known = states.get(instanceId);
  if (known && now - known.at < lifeMs(known.state)) return known.state;
  const state = await autoScaling.describeInstance(instanceId);
  if (states.size >= MAX_REMEMBERED) states.clear();
  states.set(instanceId, { state, at: now });
  return state;
}

function lifeMs(state: InstanceState | undefined): number {
  if (state?.lifecycleState === 'InService') return IN_SERVICE_MS;
  return state?.lifecycleState.startsWith('Pending') ? 0 : OTHER_MS;
}
