import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import {
  describeGroup,
  failedLaunch,
  listGroups,
  setDesiredCapacity,
} from '../../../shared/aws/auto-scaling.ts';
import type { AutoScalingPort, FleetGroup } from '../ports.ts';

/** @param prefix the deployment, whose groups alone count */
export function autoScalingPort(client: Pick<AutoScalingClient, 'send'>, prefix: string): AutoScalingPort {
  return {
    async list() {
      const groups = new Map<string, FleetGroup>();
      for await (const { name, max, desired, instances } of listGroups(client)) {
        if (name.startsWith(`${prefix}-`)) groups.set(name, { name, max, desired, instances });
      }
      return groups;
    },
    describe: (name) => describeGroup(client, name),
    setDesired: (name, desired) => setDesiredCapacity(client, name, desired),
    failedLaunch: (name, since) => failedLaunch(client, name, since),
  };
}
