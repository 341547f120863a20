import { endAction } from './actions.ts';
import { AutoScalingError, validationError } from './errors.ts';
import { requireGroup } from './groups.ts';
import type { Hook, World } from './model.ts';

/** Auto Scaling's limits: hooks a group, and the heartbeat timeout in seconds. */
const MOST_HOOKS = 50;
const SHORTEST_HEARTBEAT = 30;
const LONGEST_HEARTBEAT = 7200;

/** Input of PutLifecycleHook. Undefined keeps the present value, or sets the default of a new hook. */
export type HookSettings = { name: string } & { [K in Exclude<keyof Hook, 'name'>]: Hook[K] | undefined };

/** The hook that results from the input and the existing hook. @throws {AutoScalingError} ValidationError */
export function toHook(settings: HookSettings, existing: Hook | undefined): Hook {
  const transition = settings.transition ?? existing?.transition;
  if (transition === undefined) {
    throw validationError('LifecycleTransition is required when you create a lifecycle hook');
  }
  if (existing !== undefined && transition !== existing.transition) {
    throw validationError(`Lifecycle hook ${settings.name} cannot change its lifecycle transition`);
  }
  const heartbeatTimeout = settings.heartbeatTimeout ?? existing?.heartbeatTimeout ?? 3600;
  if (heartbeatTimeout < SHORTEST_HEARTBEAT || heartbeatTimeout > LONGEST_HEARTBEAT) {
    throw validationError(
      `HeartbeatTimeout ${heartbeatTimeout} must be between ${SHORTEST_HEARTBEAT} and ${LONGEST_HEARTBEAT} seconds`,
    );
  }
  return {
    name: settings.name,
    transition,
    heartbeatTimeout,
    defaultResult: settings.defaultResult ?? existing?.defaultResult ?? 'ABANDON',
    notificationMetadata: settings.notificationMetadata ?? existing?.notificationMetadata,
    notificationTargetArn: settings.notificationTargetArn ?? existing?.notificationTargetArn,
    roleArn: settings.roleArn ?? existing?.roleArn,
  };
}

/** PutLifecycleHook. Actions under way keep the hook as it was. */
export function putHook(world: World, groupName: string, settings: HookSettings): void {
  const group = requireGroup(world, groupName);
  const existing = group.hooks.find((hook) => hook.name === settings.name);
  const hook = toHook(settings, existing);
  if (existing === undefined && group.hooks.length >= MOST_HOOKS) {
    throw new AutoScalingError(
      'LimitExceeded',
      `You have reached the limit of ${MOST_HOOKS} lifecycle hooks`,
    );
  }
  group.hooks = [...group.hooks.filter((other) => other.name !== settings.name), hook];
}

/** DeleteLifecycleHook: open actions end first, ABANDON for a launch and CONTINUE for a termination (API reference). */
export function deleteHook(world: World, groupName: string, name: string): void {
  const group = requireGroup(world, groupName);
  if (!group.hooks.some((hook) => hook.name === name)) {
    throw validationError(`Lifecycle Hook with name ${name} does not exist in AutoScalingGroup ${groupName}`);
  }
  group.hooks = group.hooks.filter((hook) => hook.name !== name);
  for (const instance of group.instances) {
    for (const action of instance.actions.filter((candidate) => candidate.hook.name === name)) {
      const launching = action.hook.transition === 'autoscaling:EC2_INSTANCE_LAUNCHING';
      endAction(world, instance, action, launching ? 'ABANDON' : 'CONTINUE', 'hook-deleted');
    }
  }
}
