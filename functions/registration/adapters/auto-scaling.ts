import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { describeInstance, listInstances } from '../../../shared/aws/auto-scaling.ts';
import type { AutoScalingPort, InstanceState } from '../ports.ts';

/** @param prefix the deployment, whose groups alone count */
export function autoScalingPort(client: AutoScalingClient, prefix: string): AutoScalingPort {
  return {
    describeInstance: (instanceId) => describeInstance(client, instanceId),
    async listInstances() {
      const instances = new Map<string, InstanceState>();
      for await (const { instanceId, ...state } of listInstances(client)) {
        if (state.autoScalingGroup.startsWith(`${prefix}-`)) instances.set(instanceId, state);
      }
      return instances;
    },
  };
}
