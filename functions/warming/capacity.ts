import { autoScalingGroupName, parseGroupId } from '../../shared/fleet/names.ts';
import { ConfigurationError } from '../../shared/runtime/errors.ts';
import type { NamedSet, WarmingContext } from './context.ts';

/** Why a warming group can have no machine until somebody has changed the deployment. */
export type WakeProblem = 'no-warming-group' | 'no-room';

/**
 * Gives the set's warming group a machine for the run: one above its minimum, because a machine warms once, when it boots,
 * and those of the minimum have done so.
 */
export async function wakeGroup(set: NamedSet, context: WarmingContext): Promise<WakeProblem | undefined> {
  const name = groupName(set, context.prefix);
  const capacity = await context.capacity.describe(name);
  if (!capacity) return 'no-warming-group';
  const wanted = capacity.min + 1;
  if (capacity.max < wanted) return 'no-room';
  if (capacity.desired < wanted) await context.capacity.set(name, wanted);
  return undefined;
}

/** Takes the group back to its minimum. The machine goes through its terminate hook, as every one does. */
export async function restGroup(set: NamedSet, context: WarmingContext): Promise<void> {
  const name = groupName(set, context.prefix);
  const capacity = await context.capacity.describe(name);
  if (capacity && capacity.desired > capacity.min) await context.capacity.set(name, capacity.min);
}

function groupName(set: NamedSet, prefix: string): string {
  const group = parseGroupId(set.group);
  if (!group) throw new ConfigurationError(`warming set ${set.name} names no group: ${set.group}`);
  return autoScalingGroupName(prefix, group);
}
