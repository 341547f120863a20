import {
  type AutoScalingClient,
  DescribeAutoScalingGroupsCommand,
  SetDesiredCapacityCommand,
} from '@aws-sdk/client-auto-scaling';
import type { CapacityPort } from './context.ts';

/** Auto Scaling itself. */
export function capacityPort(client: Pick<AutoScalingClient, 'send'>): CapacityPort {
  return {
    async describe(autoScalingGroup) {
      const { AutoScalingGroups } = await client.send(
        new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [autoScalingGroup] }),
      );
      const found = AutoScalingGroups?.[0];
      if (!found) return undefined;
      return { min: found.MinSize ?? 0, max: found.MaxSize ?? 0, desired: found.DesiredCapacity ?? 0 };
    },
    async set(autoScalingGroup, desired) {
      await client.send(
        new SetDesiredCapacityCommand({ AutoScalingGroupName: autoScalingGroup, DesiredCapacity: desired }),
      );
    },
  };
}
