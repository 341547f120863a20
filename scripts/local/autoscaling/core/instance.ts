import { endOpenActions } from './actions.ts';
import { stamp } from './activities.ts';
import { validationError } from './errors.ts';
import { interruptionEvent, rebalanceEvent } from './events.ts';
import { failLaunch } from './launch.ts';
import { counts, type Group, type Instance, span, type World } from './model.ts';
import { beginTermination, stopInstance } from './terminate.ts';

/** Time between a Spot interruption notice and the end of the instance, in seconds (EC2 User Guide, "Spot"). */
const SPOT_NOTICE_SECONDS = 120;

/** EC2 reclaims a Spot instance: the interruption notice comes now, the termination two minutes later, regardless of hooks. */
export function reclaim(world: World, instance: Instance): void {
  if (instance.purchase !== 'spot') {
    throw validationError(`${instance.id} is not a Spot instance`);
  }
  if (instance.reclaim !== undefined || instance.stopped) return;
  instance.reclaim = { noticedAt: world.now, goneAt: world.now + span(world, SPOT_NOTICE_SECONDS) };
  world.effects.push({ kind: 'event', event: interruptionEvent(world, instance) });
}

/** EC2 expects to reclaim the instance. */
export function recommendRebalance(world: World, instance: Instance): void {
  instance.rebalanceNoticedAt ??= world.now;
  world.effects.push({ kind: 'event', event: rebalanceEvent(world, instance) });
}

/** Stops a reclaimed instance after its notice period. Hooks do not delay it. Returns whether something changed. */
export function takeReclaimed(world: World, group: Group, instance: Instance): boolean {
  const { reclaim: notice } = instance;
  if (notice === undefined || notice.goneAt > world.now || instance.stopped) return false;
  instance.skipsHooks = true;
  stopInstance(world, instance);
  if (instance.state === 'Terminating:Wait') endOpenActions(world, instance, 'CONTINUE', 'instance-gone');
  endInstance(world, group, instance);
  return true;
}

/**
 * The instance stopped by itself: reclaimed, crashed, shut down from inside. Auto Scaling detects it by a health check and then
 * runs the terminate hooks until their timeout, although no program is left to complete them (AWS Support, quoted in
 * getsocial-rnd/ecs-drain-lambda#6).
 */
export function endInstance(world: World, group: Group, instance: Instance): void {
  instance.stopped = true;
  instance.healthy = false;
  if (!counts(instance)) return;
  if (instance.state !== 'InService') {
    endOpenActions(world, instance, 'ABANDON', 'instance-gone');
    const message = 'Instance became unhealthy while waiting for instance to be in InService state.';
    failLaunch(world, group, instance, message);
  }
  const check = 'an EC2 health check indicating it has been terminated or stopped';
  const cause = `At ${stamp(world.now)} an instance was taken out of service in response to ${check}.`;
  beginTermination(world, group, instance, cause);
}
