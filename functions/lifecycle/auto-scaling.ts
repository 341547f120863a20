import {
  type AutoScalingClient,
  CompleteLifecycleActionCommand,
  DescribeAutoScalingGroupsCommand,
  DescribeAutoScalingInstancesCommand,
  RecordLifecycleActionHeartbeatCommand,
  TerminateInstanceInAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import type { AutoScalingPort, HookAction, HookOutcome } from './ports.ts';

/** Auto Scaling itself. */
export function autoScalingPort(client: Pick<AutoScalingClient, 'send'>): AutoScalingPort {
  return {
    complete: (action, result) =>
      aboutHook(() =>
        client.send(
          new CompleteLifecycleActionCommand({ ...hookInput(action), LifecycleActionResult: result }),
        ),
      ),
    heartbeat: (action) =>
      aboutHook(() => client.send(new RecordLifecycleActionHeartbeatCommand(hookInput(action)))),
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
    async terminate(instanceId, decrement) {
      try {
        await client.send(
          new TerminateInstanceInAutoScalingGroupCommand({
            InstanceId: instanceId,
            ShouldDecrementDesiredCapacity: decrement,
          }),
        );
        return 'applied';
      } catch (error) {
        if (!isValidationError(error)) throw error;
        return /not found/i.test(error.message) ? 'unknown-instance' : 'refused';
      }
    },
  };
}

function hookInput({ autoScalingGroup, hook, instanceId }: HookAction) {
  return { AutoScalingGroupName: autoScalingGroup, LifecycleHookName: hook, InstanceId: instanceId };
}

/**
 * "No active Lifecycle Action found" is an answer: done already, or too early. The same error name says that the group or
 * the hook does not exist; for an instance that leads to the same look at where it stands.
 */
async function aboutHook(call: () => Promise<unknown>): Promise<HookOutcome> {
  try {
    await call();
    return 'applied';
  } catch (error) {
    if (isValidationError(error)) return 'none';
    throw error;
  }
}

function isValidationError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ValidationError';
}
