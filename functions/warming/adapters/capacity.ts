import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { describeGroup, setDesiredCapacity } from '../../../shared/aws/auto-scaling.ts';
import type { CapacityPort } from '../ports.ts';

/** The port on Auto Scaling. */
export function capacityPort(client: Pick<AutoScalingClient, 'send'>): CapacityPort {
  return {
    describe: (name) => describeGroup(client, name),
    setDesired: (name, desired) => setDesiredCapacity(client, name, desired),
  };
}
