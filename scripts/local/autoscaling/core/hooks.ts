import { endAction } from './actions.ts';
import { AutoScalingError, validationError } from './errors.ts';
import { requireGroup } from './groups.ts';
import type { Hook, World } from './model.ts';

/** Auto Scaling's limits: hooks a group, and the heartbeat timeout in seconds. */
const MOST_HOOKS = 50;
const SHORTEST_HEARTBEAT = 30;
const LONGEST_HEARTBEAT = 7200;

/** What PutLifecycleHook says; undefined keeps what the hook has, or takes the default for a new one. */
export type HookSettings = { name: string } & { [K in Exclude<keyof Hook, 'name'>]: Hook[K] | undefined };

/** A whole hook out of what was said and what it was. @throws {AutoScalingError} ValidationError */
export function toHook(wanted: HookSettings, existing: Hook | undefined): Hook {
  const transition = wanted.transition ?? existing?.transition;
  if (transition === undefined) {
    throw validationError('LifecycleTransition is required when you create a lifecycle hook');
  }
  if (existing !== undefined && transition !== existing.transition) {
    throw validationError(`Lifecycle hook ${wanted.name} cannot change its lifecycle transition`);
  }
  const heartbeatTimeout = wanted.heartbeatTimeout ?? existing?.heartbeatTimeout ?? 3600;
  if (heartbeatTimeout < SHORTEST_HEARTBEAT || heartbeatTimeout > LONGEST_HEARTBEAT) {
    throw validationError(
      `HeartbeatTimeout ${heartbeatTimeout} must be between ${SHORTEST_HEARTBEAT} and ${LONGEST_HEARTBEAT} seconds`,
    );
  }
  return {
    name: wanted.name,
    transition,
    heartbeatTimeout,
    defaultResult: wanted.defaultResult ?? existing?.defaultResult ?? 'ABANDON',
    notificationMetadata: wanted.notificationMetadata ?? existing?.notificationMetadata,
    notificationTargetArn: wanted.notificationTargetArn ?? existing?.notificationTargetArn,
    roleArn: wanted.roleArn ?? existing?.roleArn,
  };
}

/** PutLifecycleHook. Actions under way keep the hook as it was. */
export function putHook(world: World, groupName: string, wanted: HookSettings): void {
  const group = requireGroup(world, groupName);
  const existing = group.hooks.find((hook) => hook.name === wanted.name);
  const hook = toHook(wanted, existing);
  if (existing === undefined && group.hooks.length >= MOST_HOOKS) {
    throw new AutoScalingError(
      'LimitExceeded',
      `You have reached the limit of ${MOST_HOOKS} lifecycle hooks`,
    );
  }
  group.hooks = [...group.hooks.filter((other) => other.name !== wanted.name), hook];
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
