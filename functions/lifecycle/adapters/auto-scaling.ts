import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import {
  completeHook,
  describeGroup,
  describeInstance,
  listGroups,
  recordHeartbeat,
  terminateInstance,
} from '../../../shared/aws/auto-scaling.ts';
import type { AutoScalingPort, GroupState } from '../ports.ts';

/**
 * The port on Auto Scaling.
 *
 * @param prefix the deployment, whose groups alone are listed
 */
export function autoScalingPort(client: Pick<AutoScalingClient, 'send'>, prefix: string): AutoScalingPort {
  return {
    complete: (action, result) => completeHook(client, action, result),
    heartbeat: (action) => recordHeartbeat(client, action),
    describeInstance: (instanceId) => describeInstance(client, instanceId),
    describeGroup: (name) => describeGroup(client, name),
    async listGroups() {
      const groups = new Map<string, GroupState>();
      for await (const group of listGroups(client)) {
        if (group.name.startsWith(`${prefix}-`)) groups.set(group.name, group);
      }
      return groups;
    },
    terminate: (instanceId, decrement) => terminateInstance(client, instanceId, decrement),
  };
}
