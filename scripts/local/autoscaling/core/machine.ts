import { endOpenActions } from './actions.ts';
import { stamp } from './activities.ts';
import { validationError } from './errors.ts';
import { interruptionEvent, rebalanceEvent } from './events.ts';
import { failLaunch } from './launch.ts';
import { counts, type Group, type Instance, span, type World } from './model.ts';
import { beginTermination, haltMachine } from './terminate.ts';

/** Time between a Spot interruption notice and the end of the machine, in seconds (EC2 User Guide, "Spot"). */
const SPOT_NOTICE_SECONDS = 120;

/** EC2 wants a Spot machine back: it says so now, and takes it two minutes later, whoever holds it. */
export function reclaim(world: World, instance: Instance): void {
  if (instance.purchase !== 'spot') {
    throw validationError(`${instance.id} is no Spot instance: EC2 reclaims no other`);
  }
  if (instance.reclaim !== undefined || instance.machineGone) return;
  instance.reclaim = { noticedAt: world.now, goneAt: world.now + span(world, SPOT_NOTICE_SECONDS) };
  world.effects.push({ kind: 'event', event: interruptionEvent(world, instance) });
}

/** EC2 thinks that it will want the machine back. */
export function recommendRebalance(world: World, instance: Instance): void {
  instance.rebalanceNoticedAt ??= world.now;
  world.effects.push({ kind: 'event', event: rebalanceEvent(world, instance) });
}

/** Takes a reclaimed machine whose notice has run out; no hook holds it. Returns whether something changed. */
export function takeReclaimed(world: World, group: Group, instance: Instance): boolean {
  const { reclaim: notice } = instance;
  if (notice === undefined || notice.goneAt > world.now || instance.machineGone) return false;
  instance.skipsHooks = true;
  haltMachine(world, instance);
  if (instance.state === 'Terminating:Wait') endOpenActions(world, instance, 'CONTINUE', 'instance-gone');
  noticeGoneMachine(world, group, instance);
  return true;
}

/**
 * The machine stopped without being told to: reclaimed, crashed, shut down from inside. Auto Scaling finds that out by a
 * health check and then runs the terminate hooks as for any other, although nobody is left to answer them (so says AWS
 * Support; getsocial-rnd/ecs-drain-lambda#6): their timeout ends that.
 */
export function noticeGoneMachine(world: World, group: Group, instance: Instance): void {
  instance.machineGone = true;
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
