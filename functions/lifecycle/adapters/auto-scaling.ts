import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import {
  completeHook,
  describeGroup,
  describeInstance,
  recordHeartbeat,
  terminateInstance,
} from '../../../shared/aws/auto-scaling.ts';
import type { AutoScalingPort } from '../ports.ts';

/** The port on Auto Scaling. */
export function autoScalingPort(client: Pick<AutoScalingClient, 'send'>): AutoScalingPort {
  return {
    complete: (action, result) => completeHook(client, action, result),
    heartbeat: (action) => recordHeartbeat(client, action),
    describeInstance: (instanceId) => describeInstance(client, instanceId),
    describeGroup: (name) => describeGroup(client, name),
    terminate: (instanceId, decrement) => terminateInstance(client, instanceId, decrement),
  };
}
