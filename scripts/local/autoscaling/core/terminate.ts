import { endOpenActions, outcomeOfWait, startActions } from './actions.ts';
import { beginActivity, endActivity } from './activities.ts';
import { terminateSuccessfulEvent } from './events.ts';
import { type Activity, type Group, type Instance, span, type World } from './model.ts';

/**
 * Sends an instance on its way out. What it still waits for as a newcomer is moot, and its launch cancelled.
 *
 * @returns the activity of its termination
 */
export function beginTermination(world: World, group: Group, instance: Instance, cause: string): Activity {
  endOpenActions(world, instance, 'ABANDON', instance.stopped ? 'instance-gone' : 'superseded');
  endActivity(world, instance.launch, 'Cancelled');
  const activity = beginActivity(world, group, {
    description: `Terminating EC2 instance: ${instance.id}`,
    cause,
    status: 'InProgress',
    zone: instance.zone,
    subnet: instance.subnet,
  });
  instance.termination = activity;
  instance.state = 'Terminating';
  instance.stepAt = world.now;
  return activity;
}

/** Begins the terminate hooks while the instance still runs. */
export function enterTerminateWait(world: World, group: Group, instance: Instance): void {
  if (startActions(world, group, instance, 'autoscaling:EC2_INSTANCE_TERMINATING')) {
    instance.state = 'Terminating:Wait';
    instance.stepAt = undefined;
    if (instance.termination !== undefined) instance.termination.status = 'MidLifecycleAction';
  } else {
    stopMachine(world, instance);
  }
}

/** Continues a termination whose hooks have ended; both results terminate the instance. */
export function leaveTerminateWait(world: World, instance: Instance): boolean {
  if (outcomeOfWait(world, instance) === undefined) return false;
  stopMachine(world, instance);
  return true;
}

function stopMachine(world: World, instance: Instance): void {
  instance.state = 'Terminating:Proceed';
  if (instance.termination !== undefined) instance.termination.status = 'InProgress';
  instance.stepAt = world.now + (instance.stopped ? 0 : span(world, world.behaviour.terminateSeconds));
  stopInstance(world, instance);
}

/** The instance stops, once. */
export function stopInstance(world: World, instance: Instance): void {
  if (instance.stopped) return;
  instance.stopped = true;
  world.effects.push({ kind: 'terminate', instance });
}

/** Removes the terminated instance from its group. */
export function leaveGroup(world: World, group: Group, instance: Instance): void {
  instance.state = 'Terminated';
  instance.stepAt = undefined;
  group.instances = group.instances.filter((other) => other !== instance);
  const activity = instance.termination;
  if (activity === undefined) throw new Error(`${instance.id} left its group without an activity`);
  world.effects.push({ kind: 'event', event: terminateSuccessfulEvent(world, group, activity, instance.id) });
  endActivity(world, activity, 'Successful');
}
