import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { listGroups } from '../../../shared/aws/auto-scaling.ts';
import { parseAutoScalingGroupName } from '../../../shared/fleet/names.ts';
import type { GroupCapacity, GroupReader } from '../ports.ts';

/** The groups that are named after the deployment's prefix. */
export function autoScalingGroups(client: Pick<AutoScalingClient, 'send'>, prefix: string): GroupReader {
  return {
    async list() {
      const groups: GroupCapacity[] = [];
      for await (const { name, min, max, desired, instances } of listGroups(client)) {
        if (!parseAutoScalingGroupName(prefix, name)) continue;
        groups.push({
          name,
          min,
          max,
          desired,
          inService: instances.filter(({ lifecycleState }) => lifecycleState === 'InService').length,
          draining: instances.filter(({ lifecycleState }) => isDraining(lifecycleState)).length,
        });
      }
      return groups;
    },
  };
}

/** A retained instance has ended its hooks and stays until somebody terminates it: it drains nothing. */
function isDraining(state: string): boolean {
  return state.startsWith('Terminating') && state !== 'Terminating:Retained';
}
