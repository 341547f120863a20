import { expireActions } from './actions.ts';
import { isBackingOff, reconcile } from './capacity.ts';
import { takeReclaimed } from './instance.ts';
import { enterLaunchWait, enterService, leaveLaunchWait } from './launch.ts';
import type { Effect, Group, Instance, World } from './model.ts';
import { enterTerminateWait, leaveGroup, leaveTerminateWait } from './terminate.ts';

/** Most rounds until nothing is due. More rounds mean that two rules undo each other. */
const MOST_ROUNDS = 100_000;

/**
 * Moves everything that is due at `now`, until nothing is. Call it after every command and at `nextDeadline`.
 *
 * @returns what the outside must now do, in order; each effect is handed out once
 */
export function advance(world: World, now: number): Effect[] {
  world.now = Math.max(world.now, now);
  let rounds = 0;
  while (advanceOnce(world)) {
    rounds += 1;
    if (rounds > MOST_ROUNDS) throw new Error('the Auto Scaling groups do not converge');
  }
  const { effects } = world;
  world.effects = [];
  return effects;
}

function advanceOnce(world: World): boolean {
  let changed = false;
  for (const group of [...world.groups.values()]) {
    for (const instance of [...group.instances]) changed = step(world, group, instance) || changed;
    changed = reconcile(world, group) || changed;
  }
  return changed;
}

function step(world: World, group: Group, instance: Instance): boolean {
  if (takeReclaimed(world, group, instance)) return true;
  if (instance.state === 'Pending:Wait') {
    expireActions(world, instance);
    return leaveLaunchWait(world, group, instance);
  }
  if (instance.state === 'Terminating:Wait') {
    expireActions(world, instance);
    return leaveTerminateWait(world, instance);
  }
  if (instance.stepAt === undefined || instance.stepAt > world.now) return false;
  if (instance.state === 'Pending') enterLaunchWait(world, group, instance);
  else if (instance.state === 'Pending:Proceed') enterService(world, group, instance);
  else if (instance.state === 'Terminating') enterTerminateWait(world, group, instance);
  else if (instance.state === 'Terminating:Proceed') leaveGroup(world, group, instance);
  return true;
}

/** When something will be due that no command causes, or undefined if nothing will. */
export function nextDeadline(world: World): number | undefined {
  const times: number[] = [];
  for (const group of world.groups.values()) {
    if (isBackingOff(group)) times.push(group.nextLaunchAt);
    for (const instance of group.instances) {
      if (instance.stepAt !== undefined) times.push(instance.stepAt);
      if (instance.reclaim !== undefined && !instance.stopped) times.push(instance.reclaim.goneAt);
      for (const action of instance.actions) if (action.ended === undefined) times.push(action.deadline);
    }
  }
  return times.length === 0 ? undefined : times.reduce((a, b) => Math.min(a, b));
}
