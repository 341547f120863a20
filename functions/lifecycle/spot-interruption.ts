import * as v from 'valibot';
import { INSTANCE_ID, parseAutoScalingGroupName } from '../../shared/fleet/names.ts';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import { type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import type { AutoScalingPort } from './ports.ts';
import { dropWhenStale } from './stale.ts';
import { terminateAndReplace } from './terminate.ts';

const interruption = v.object({
  'instance-id': v.pipe(v.string(), v.regex(INSTANCE_ID, 'must be an instance id')),
});

/**
 * `EC2 Spot Instance Interruption Warning`. The runner reads the notice in its metadata and stops its intake. To terminate the
 * instance now starts its replacement and its drain two minutes earlier. The notice names no group, so Auto Scaling is read.
 */
export async function handleSpotInterruption(
  event: Envelope,
  { prefix, autoScaling, ageMs }: { prefix: string; autoScaling: AutoScalingPort; ageMs: number },
): Promise<Outcome> {
  const { 'instance-id': instanceId } = parseOrReject(interruption, event.detail, 'malformed-detail');
  return dropWhenStale(ageMs, async () => {
    const instance = await autoScaling.describeInstance(instanceId);
    if (!instance) return skipped('not-in-group');
    if (!parseAutoScalingGroupName(prefix, instance.autoScalingGroup)) return skipped('foreign-group');
    return terminateAndReplace(instanceId, instance.lifecycleState, autoScaling);
  });
}
