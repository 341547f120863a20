import { stamp } from './activities.ts';
import { AutoScalingError, groupNotFound, instanceNotFound, validationError } from './errors.ts';
import { counts, findInstance, type Group, type Hook, type Tag, type World } from './model.ts';
import { beginTermination } from './terminate.ts';

/** What CreateAutoScalingGroup and UpdateAutoScalingGroup may set; undefined leaves what is there. */
export type GroupSettings = {
  min: number | undefined;
  max: number | undefined;
  desired: number | undefined;
  instanceType: string | undefined;
  purchase: Group['purchase'] | undefined;
  launchTemplate: Group['launchTemplate'];
  defaultCooldown: number | undefined;
  healthCheckType: string | undefined;
  healthCheckGracePeriod: number | undefined;
  newInstancesProtected: boolean | undefined;
  capacityRebalance: boolean | undefined;
};

export type NewGroup = GroupSettings & {
  name: string;
  zones: string[];
  subnets: string[];
  tags: Tag[];
  hooks: Hook[];
};

/** @throws {AutoScalingError} ValidationError */
export function requireGroup(world: World, name: string): Group {
  const group = world.groups.get(name);
  if (group === undefined) throw groupNotFound(name);
  return group;
}

/** CreateAutoScalingGroup. */
export function createGroup(world: World, settings: NewGroup): Group {
  if (world.groups.has(settings.name)) {
    throw new AutoScalingError(
      'AlreadyExists',
      `AutoScalingGroup by this name already exists - A group with the name ${settings.name} already exists`,
    );
  }
  const { min, max } = settings;
  if (min === undefined || max === undefined) throw validationError('MinSize and MaxSize are required');
  const desired = settings.desired ?? min;
  checkBounds(min, max, desired);
  const { region, account } = world.home;
  const group: Group = {
    name: settings.name,
    arn: `arn:aws:autoscaling:${region}:${account}:autoScalingGroup:${world.newId()}:autoScalingGroupName/${settings.name}`,
    createdAt: world.now,
    min,
    max,
    desired,
    zones: settings.zones.length > 0 ? settings.zones : [`${region}a`, `${region}b`],
    subnets: settings.subnets,
    instanceType: settings.instanceType ?? 'c5ad.xlarge',
    purchase: settings.purchase ?? 'on-demand',
    launchTemplate: settings.launchTemplate,
    defaultCooldown: settings.defaultCooldown ?? 300,
    healthCheckType: settings.healthCheckType ?? 'EC2',
    healthCheckGracePeriod: settings.healthCheckGracePeriod ?? 0,
    newInstancesProtected: settings.newInstancesProtected ?? false,
    capacityRebalance: settings.capacityRebalance ?? false,
    tags: settings.tags,
    hooks: settings.hooks,
    instances: [],
    activities: [],
    cause: `At ${stamp(world.now)} a user request created an AutoScalingGroup changing the desired capacity from 0 to ${desired}.`,
    launchFailures: 0,
    nextLaunchAt: world.now,
    deleting: false,
    scaleInBlocked: false,
  };
  world.groups.set(group.name, group);
  return group;
}

/** UpdateAutoScalingGroup: new bounds pull the desired capacity along, unless it is given, too. */
export function updateGroup(world: World, name: string, settings: GroupSettings): void {
  const group = requireGroup(world, name);
  const min = settings.min ?? group.min;
  const max = settings.max ?? group.max;
  const desired = settings.desired ?? Math.min(max, Math.max(min, group.desired));
  checkBounds(min, max, desired);
  const before = group.desired;
  Object.assign(group, {
    min,
    max,
    desired,
    instanceType: settings.instanceType ?? group.instanceType,
    purchase: settings.purchase ?? group.purchase,
    launchTemplate: settings.launchTemplate ?? group.launchTemplate,
    defaultCooldown: settings.defaultCooldown ?? group.defaultCooldown,
    healthCheckType: settings.healthCheckType ?? group.healthCheckType,
    healthCheckGracePeriod: settings.healthCheckGracePeriod ?? group.healthCheckGracePeriod,
    newInstancesProtected: settings.newInstancesProtected ?? group.newInstancesProtected,
    capacityRebalance: settings.capacityRebalance ?? group.capacityRebalance,
  } satisfies Partial<Group>);
  if (desired !== before) {
    group.cause = `At ${stamp(world.now)} a user request update of AutoScalingGroup constraints to min: ${min}, max: ${max}, desired: ${desired} changing the desired capacity from ${before} to ${desired}.`;
  }
}

function checkBounds(min: number, max: number, desired: number): void {
  if (min < 0 || max < 0 || desired < 0) throw validationError('Group sizes must not be negative');
  if (max < min) {
    throw validationError(`Max bound, ${max}, must be greater than or equal to min bound, ${min}`);
  }
  if (desired < min || desired > max) {
    throw validationError(
      `Desired capacity:${desired} must be between the specified min size:${min} and max size:${max}`,
    );
  }
}

/** SetDesiredCapacity. Cooldowns hold back scaling policies, of which there are none here. */
export function setDesiredCapacity(world: World, name: string, desired: number): void {
  const group = requireGroup(world, name);
  if (desired > group.max) {
    throw validationError(
      `New SetDesiredCapacity value ${desired} is above max value ${group.max} for the AutoScalingGroup.`,
    );
  }
  if (desired < group.min) {
    throw validationError(
      `New SetDesiredCapacity value ${desired} is below min value ${group.min} for the AutoScalingGroup.`,
    );
  }
  if (desired === group.desired) return;
  group.cause = `At ${stamp(world.now)} a user request explicitly set group desired capacity changing the desired capacity from ${group.desired} to ${desired}.`;
  group.desired = desired;
}

/** DeleteAutoScalingGroup. With `force` the instances go without their hooks. */
export function deleteGroup(world: World, name: string, force: boolean): void {
  const group = requireGroup(world, name);
  if (group.instances.length > 0 && !force) {
    throw new AutoScalingError(
      'ResourceInUse',
      'You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.',
    );
  }
  group.deleting = true;
}

/**
 * TerminateInstanceInAutoScalingGroup. Scale-in protection does not stand in its way; the terminate hooks run.
 *
 * @returns the activity
 */
export function terminateInstance(world: World, instanceId: string, decrement: boolean) {
  const found = findInstance(world, instanceId);
  if (found === undefined) throw instanceNotFound(instanceId);
  const { group, instance } = found;
  if (!counts(instance)) {
    throw new AutoScalingError(
      'ScalingActivityInProgress',
      `Activity ${instance.termination?.id} is in progress.`,
    );
  }
  if (decrement && group.desired <= group.min) {
    throw validationError(
      `Currently, desiredSize equals minSize (${group.min}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.`,
    );
  }
  const shrinking = decrement ? `, shrinking the capacity from ${group.desired} to ${group.desired - 1}` : '';
  if (decrement) group.desired -= 1;
  const cause = `At ${stamp(world.now)} instance ${instanceId} was taken out of service in response to a user request${shrinking}.`;
  return beginTermination(world, group, instance, cause);
}

/** Instances that SetInstanceProtection takes in one call (API reference). */
const MOST_PROTECTED_AT_ONCE = 50;

/** SetInstanceProtection: all of them or none. */
export function setProtection(world: World, name: string, ids: readonly string[], on: boolean): void {
  const group = requireGroup(world, name);
  if (ids.length > MOST_PROTECTED_AT_ONCE) {
    throw validationError(`Member must have length less than or equal to ${MOST_PROTECTED_AT_ONCE}`);
  }
  const instances = ids.map((id) => {
    const instance = group.instances.find((candidate) => candidate.id === id);
    if (instance === undefined) {
      throw validationError(`The instance ${id} is not part of Auto Scaling group ${name}.`);
    }
    if (instance.state !== 'InService') {
      throw validationError(`The instance ${id} is not in InService or EnteringStandby or Standby.`);
    }
    return instance;
  });
  for (const instance of instances) instance.protectedFromScaleIn = on;
}

/** SetInstanceHealth: an unhealthy instance is replaced. */
export function setHealth(world: World, instanceId: string, healthy: boolean): void {
  const found = findInstance(world, instanceId);
  if (found === undefined) throw instanceNotFound(instanceId);
  found.instance.healthy = healthy;
}
