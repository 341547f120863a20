import {
  type AutoScalingClient,
  CompleteLifecycleActionCommand,
  DescribeAutoScalingGroupsCommand,
  DescribeAutoScalingInstancesCommand,
  RecordLifecycleActionHeartbeatCommand,
  TerminateInstanceInAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { Answer, AutoScalingPort, HookAction } from './ports.ts';

/** Auto Scaling itself. */
export function autoScalingPort(client: Pick<AutoScalingClient, 'send'>): AutoScalingPort {
  return {
    complete: (action, result) =>
      answerOf(() =>
        client.send(
          new CompleteLifecycleActionCommand({ ...hookInput(action), LifecycleActionResult: result }),
        ),
      ),
    heartbeat: (action) =>
      answerOf(() => client.send(new RecordLifecycleActionHeartbeatCommand(hookInput(action)))),
    async describeInstance(instanceId) {
      const { AutoScalingInstances } = await client.send(
        new DescribeAutoScalingInstancesCommand({ InstanceIds: [instanceId] }),
      );
      const found = AutoScalingInstances?.[0];
      if (!found) return undefined;
      return {
        autoScalingGroup: found.AutoScalingGroupName ?? '',
        lifecycleState: found.LifecycleState ?? '',
      };
    },
    async describeGroup(name) {
      const { AutoScalingGroups } = await client.send(
        new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [name] }),
      );
      const found = AutoScalingGroups?.[0];
      return found && { min: found.MinSize ?? 0, desired: found.DesiredCapacity ?? 0 };
    },
    terminate: (instanceId, decrement) =>
      answerOf(() =>
        client.send(
          new TerminateInstanceInAutoScalingGroupCommand({
            InstanceId: instanceId,
            ShouldDecrementDesiredCapacity: decrement,
          }),
        ),
      ),
  };
}

function hookInput({ autoScalingGroup, hook, instanceId }: HookAction) {
  return { AutoScalingGroupName: autoScalingGroup, LifecycleHookName: hook, InstanceId: instanceId };
}

/**
 * One error name covers every refusal of Auto Scaling: no active action (done already, or too early), no such instance,
 * group or hook, a group at its minimum. Which it is shows in what *is*, not in the wording.
 */
async function answerOf(call: () => Promise<unknown>): Promise<Answer> {
  try {
    await call();
    return { applied: true };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (error.name === 'ValidationError') return { applied: false, said: error.message };
    if (error.name === 'ScalingActivityInProgressFault') {
      throw new RetryableError('scaling-in-progress', error.message, { cause: error });
    }
    throw error;
  }
}
