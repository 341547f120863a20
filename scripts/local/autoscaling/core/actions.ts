import { validationError } from './errors.ts';
import { lifecycleActionEvent } from './events.ts';
import {
  type ActionResult,
  type EndCause,
  type Group,
  type Instance,
  type LifecycleAction,
  span,
  type Transition,
  type World,
} from './model.ts';

/** Longest wait regardless of heartbeats: 48 hours or 100 heartbeat timeouts (User Guide, "Lifecycle hooks"). */
const LONGEST_WAIT_SECONDS = 48 * 3600;
const LONGEST_WAIT_TIMEOUTS = 100;

/** Begins one action per hook of the transition and publishes it. Returns whether an action is active. */
export function startActions(
  world: World,
  group: Group,
  instance: Instance,
  transition: Transition,
): boolean {
  const hooks = instance.skipsHooks ? [] : group.hooks.filter((hook) => hook.transition === transition);
  instance.actions = hooks.map((hook) => {
    const longest = Math.min(LONGEST_WAIT_SECONDS, LONGEST_WAIT_TIMEOUTS * hook.heartbeatTimeout);
    return {
      token: world.newId(),
      hook: { ...hook },
      startedAt: world.now,
      deadline: world.now + span(world, hook.heartbeatTimeout),
      hardDeadline: world.now + span(world, longest),
      ended: undefined,
    };
  });
  for (const action of instance.actions) {
    world.effects.push({ kind: 'event', event: lifecycleActionEvent(world, group, instance, action) });
  }
  return instance.actions.length > 0;
}

/** Ends an action, unless it has ended. */
export function endAction(
  world: World,
  instance: Instance,
  action: LifecycleAction,
  result: ActionResult,
  cause: EndCause,
): void {
  if (action.ended !== undefined) return;
  action.ended = { result, cause, at: world.now };
  world.effects.push({ kind: 'action-ended', instance: { ...instance }, action: { ...action } });
}

/** Ends the active actions of the instance. */
export function endOpenActions(
  world: World,
  instance: Instance,
  result: ActionResult,
  cause: EndCause,
): void {
  for (const action of instance.actions) endAction(world, instance, action, result, cause);
}

/** Ends the actions whose time is up with their hooks' default results. */
export function expireActions(world: World, instance: Instance): void {
  for (const action of instance.actions) {
    if (action.deadline > world.now) continue;
    const cause = action.deadline >= action.hardDeadline ? 'global-timeout' : 'heartbeat-timeout';
    endAction(world, instance, action, action.hook.defaultResult, cause);
  }
}

/**
 * What the wait has come to: CONTINUE once every action has, ABANDON as soon as one has (the others are skipped),
 * undefined while it goes on.
 */
export function outcomeOfWait(world: World, instance: Instance): ActionResult | undefined {
  const { actions } = instance;
  if (actions.some((action) => action.ended?.result === 'ABANDON')) {
    endOpenActions(world, instance, 'ABANDON', 'skipped');
    return 'ABANDON';
  }
  return actions.every((action) => action.ended !== undefined) ? 'CONTINUE' : undefined;
}

/** How a call names an action: group and hook, and the token or else the instance. */
export type ActionReference = {
  group: string;
  hook: string;
  token: string | undefined;
  instanceId: string | undefined;
};

/** @throws {AutoScalingError} ValidationError if no such action is open */
function findOpenAction(world: World, reference: ActionReference) {
  const { token, instanceId } = reference;
  for (const instance of world.groups.get(reference.group)?.instances ?? []) {
    const action = instance.actions.find(
      (candidate) =>
        candidate.ended === undefined &&
        candidate.startedAt + span(world, world.behaviour.actionDelaySeconds) <= world.now &&
        candidate.hook.name === reference.hook &&
        (token === undefined ? instance.id === instanceId : candidate.token === token),
    );
    if (action !== undefined) return { instance, action };
  }
  throw noActiveAction(reference);
}

/** The answer to a call that comes too late, or, now and then on AWS, too early. */
function noActiveAction(reference: Pick<ActionReference, 'token' | 'instanceId'>) {
  const which =
    reference.token === undefined ? `instance ID ${reference.instanceId}` : `token ${reference.token}`;
  return validationError(`No active Lifecycle Action found with ${which}`);
}

/** CompleteLifecycleAction. */
export function completeAction(world: World, reference: ActionReference, result: ActionResult): void {
  const { instance, action } = findOpenAction(world, reference);
  endAction(world, instance, action, result, 'completed');
}

/** RecordLifecycleActionHeartbeat: the timeout starts anew, up to the longest wait. */
export function recordHeartbeat(world: World, reference: ActionReference): void {
  const { action } = findOpenAction(world, reference);
  action.deadline = Math.min(action.hardDeadline, world.now + span(world, action.hook.heartbeatTimeout));
}
