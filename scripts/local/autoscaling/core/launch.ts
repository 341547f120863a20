import { outcomeOfWait, startActions } from './actions.ts';
import { beginActivity, endActivity, stamp } from './activities.ts';
import { launchSuccessfulEvent, launchUnsuccessfulEvent } from './events.ts';
import { counts, type Group, type Instance, span, type World } from './model.ts';
import { beginTermination } from './terminate.ts';

/** Pauses between failing launches, in seconds. AWS throttles them and documents no numbers. */
const FIRST_BACKOFF_SECONDS = 5;
const LONGEST_BACKOFF_SECONDS = 300;

/** Requests one more instance from EC2: an instance in `Pending`, or a failed activity if no zone has room. */
export function launchInstance(world: World, group: Group): void {
  const zones = byFewestInstances(group);
  const instanceType = group.instanceType;
  const zone = zones.find((name) =>
    world.behaviour.hasCapacity({ group: group.name, zone: name, instanceType }),
  );
  const active = group.instances.filter(counts).length;
  const place = zone ?? zones[0] ?? `${world.home.region}a`;
  const subnet = group.subnets[group.zones.indexOf(place)] ?? '';
  const launch = beginActivity(world, group, {
    description: 'Launching a new EC2 instance',
    cause:
      `${group.cause}  At ${stamp(world.now)} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from ${active} to ${active + 1}.`.trimStart(),
    status: 'InProgress',
    zone: place,
    subnet,
  });
  if (zone === undefined) {
    const message = `We currently do not have sufficient ${instanceType} capacity in the Availability Zone you requested (${place}). Launching EC2 instance failed.`;
    endActivity(world, launch, 'Failed', message);
    countFailure(world, group);
    world.effects.push({ kind: 'event', event: launchUnsuccessfulEvent(world, group, launch, '') });
    return;
  }
  const id = world.newInstanceId();
  launch.description += `: ${id}`;
  const instance: Instance = {
    id,
    group: group.name,
    zone,
    subnet,
    type: instanceType,
    purchase: group.purchase,
    launchedAt: world.now,
    launchTemplate: group.launchTemplate,
    state: 'Pending',
    healthy: true,
    protectedFromScaleIn: group.newInstancesProtected,
    stepAt: world.now + span(world, world.behaviour.launchSeconds),
    actions: [],
    launch,
    termination: undefined,
    skipsHooks: false,
    stopped: false,
    reclaim: undefined,
    rebalanceNoticedAt: undefined,
  };
  group.instances.push(instance);
  world.effects.push({ kind: 'launch', instance });
}

/** Begins the launch hooks of a running instance. */
export function enterLaunchWait(world: World, group: Group, instance: Instance): void {
  if (startActions(world, group, instance, 'autoscaling:EC2_INSTANCE_LAUNCHING')) {
    instance.state = 'Pending:Wait';
    instance.stepAt = undefined;
    instance.launch.status = 'MidLifecycleAction';
  } else {
    proceed(world, instance);
  }
}

/** Continues a launch whose hooks have ended. Returns whether something changed. */
export function leaveLaunchWait(world: World, group: Group, instance: Instance): boolean {
  const outcome = outcomeOfWait(world, instance);
  if (outcome === undefined) return false;
  if (outcome === 'CONTINUE') proceed(world, instance);
  else abandonLaunch(world, group, instance);
  return true;
}

function proceed(world: World, instance: Instance): void {
  instance.state = 'Pending:Proceed';
  instance.stepAt = world.now;
}

export function enterService(world: World, group: Group, instance: Instance): void {
  instance.state = 'InService';
  instance.stepAt = undefined;
  group.launchFailures = 0;
  group.nextLaunchAt = world.now;
  world.effects.push({ kind: 'event', event: launchSuccessfulEvent(world, group, instance) });
  endActivity(world, instance.launch, 'Successful');
}

function abandonLaunch(world: World, group: Group, instance: Instance): void {
  const abandoned = instance.actions.find((action) => action.ended?.result === 'ABANDON');
  const why =
    abandoned?.ended?.cause === 'completed'
      ? 'Lifecycle Action Completed with ABANDON Result'
      : 'Heartbeat Timeout';
  failLaunch(
    world,
    group,
    instance,
    `Instance failed to complete user's Lifecycle Action: Lifecycle Action with token ${abandoned?.token} was abandoned: ${why}`,
  );
  beginTermination(
    world,
    group,
    instance,
    `At ${stamp(world.now)} an instance was taken out of service in response to a failure to complete its launch.`,
  );
}

/** Publishes a launch that failed before `InService`, and counts it for the back-off. */
export function failLaunch(world: World, group: Group, instance: Instance, message: string): void {
  endActivity(world, instance.launch, 'Failed', message);
  countFailure(world, group);
  world.effects.push({
    kind: 'event',
    event: launchUnsuccessfulEvent(world, group, instance.launch, instance.id),
  });
}

function countFailure(world: World, group: Group): void {
  group.launchFailures += 1;
  const doublings = group.launchFailures - 2;
  const seconds =
    doublings < 0 ? 0 : Math.min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** doublings);
  group.nextLaunchAt = world.now + span(world, seconds);
}

function byFewestInstances(group: Group): string[] {
  const load = (zone: string) => group.instances.filter((i) => i.zone === zone && counts(i)).length;
  return [...group.zones].sort((a, b) => load(a) - load(b));
}
