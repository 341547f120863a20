import {
  type AutoScalingClient,
  DescribeAutoScalingGroupsCommand,
  SetDesiredCapacityCommand,
} from '@aws-sdk/client-auto-scaling';
import { RetryableError } from '../../shared/runtime/errors.ts';
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
      try {
        await client.send(
          new SetDesiredCapacityCommand({ AutoScalingGroupName: autoScalingGroup, DesiredCapacity: desired }),
        );
      } catch (error) {
        // API reference of SetDesiredCapacity: "ScalingActivityInProgress".
        if (!(error instanceof Error) || !error.name.startsWith('ScalingActivityInProgress')) throw error;
        throw new RetryableError('scaling-in-progress', error.message, { cause: error });
      }
    },
  };
}
