import { beginActivity, endActivity, stamp } from './activities.ts';
import { launchInstance } from './launch.ts';
import { counts, type Group, type Instance, type World } from './model.ts';
import { beginTermination } from './terminate.ts';

/** Takes one step towards the desired capacity. Returns whether something changed. */
export function reconcile(world: World, group: Group): boolean {
  if (group.deleting) return reconcileDeletion(world, group);
  const unhealthy = group.instances.find((instance) => counts(instance) && !instance.healthy);
  if (unhealthy !== undefined) return replaceUnhealthy(world, group, unhealthy);
  const active = group.instances.filter(counts).length;
  if (active < group.desired && world.now >= group.nextLaunchAt) {
    launchInstance(world, group);
    return true;
  }
  if (active > group.desired) return scaleIn(world, group, active);
  group.scaleInBlocked = false;
  // The request is met: what follows has reasons of its own.
  if (active === group.desired) group.cause = '';
  return false;
}

/** Whether the group is below its desired capacity and only its back-off prevents a launch. */
export function isBackingOff(group: Group): boolean {
  return !group.deleting && group.instances.filter(counts).length < group.desired;
}

function reconcileDeletion(world: World, group: Group): boolean {
  const left = group.instances.find(counts);
  if (left !== undefined) {
    left.skipsHooks = true;
    const cause = `At ${stamp(world.now)} a user request force deleted the AutoScalingGroup.`;
    beginTermination(world, group, left, cause);
    return true;
  }
  if (group.instances.length > 0) return false;
  return world.groups.delete(group.name);
}

function replaceUnhealthy(world: World, group: Group, instance: Instance): boolean {
  const cause = `At ${stamp(world.now)} an instance was taken out of service in response to a user health-check.`;
  beginTermination(world, group, instance, cause);
  return true;
}

function scaleIn(world: World, group: Group, active: number): boolean {
  const chosen = chooseForScaleIn(group);
  const shrink = `an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from ${active} to ${active - 1}.`;
  const cause = `${group.cause}  At ${stamp(world.now)} ${shrink}`.trimStart();
  if (chosen === undefined) return sayBlocked(world, group);
  group.scaleInBlocked = false;
  const selected = `  At ${stamp(world.now)} instance ${chosen.id} was selected for termination.`;
  beginTermination(world, group, chosen, cause + selected);
  return true;
}

function sayBlocked(world: World, group: Group): boolean {
  if (group.scaleInBlocked) return false;
  group.scaleInBlocked = true;
  const activity = beginActivity(world, group, {
    description:
      'Could not scale to desired capacity because all remaining instances are protected from scale-in.',
    cause: group.cause,
    status: 'InProgress',
    zone: '',
    subnet: '',
  });
  endActivity(world, activity, 'Failed');
  return true;
}

/**
 * The default termination policy as far as groups with one launch template have it: the fullest zone first, and there
 * the oldest unprotected instance. Protection begins at `InService`.
 */
export function chooseForScaleIn(group: Group): Instance | undefined {
  const active = group.instances.filter(counts);
  const load = (zone: string) => active.filter((instance) => instance.zone === zone).length;
  return active
    .filter((instance) => !(instance.protectedFromScaleIn && instance.state === 'InService'))
    .sort((a, b) => load(b.zone) - load(a.zone) || a.launchedAt - b.launchedAt)[0];
}
