import { autoScalingGroupName, parseGroupId } from '../../shared/fleet/names.ts';
import { ConfigurationError, RetryableError } from '../../shared/runtime/errors.ts';
import type { NamedSet, WarmingContext } from './context.ts';

/** Gives the set's warming group a machine, if it has none. */
export async function wakeGroup(set: NamedSet, context: WarmingContext): Promise<void> {
  const name = groupName(set, context.prefix);
  const capacity = await context.capacity.describe(name);
  if (!capacity) throw new RetryableError('no-warming-group', `there is no Auto Scaling group ${name}`);
  if (capacity.max < 1) {
    throw new RetryableError(
      'no-room',
      `${name} has a maximum of 0: a warming group needs room for one runner`,
    );
  }
  if (capacity.desired < 1) await context.capacity.set(name, 1);
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
