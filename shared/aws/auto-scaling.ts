import {
  type AutoScalingClient,
  type AutoScalingGroup,
  CompleteLifecycleActionCommand,
  DescribeAutoScalingGroupsCommand,
  DescribeAutoScalingInstancesCommand,
  DescribeScalingActivitiesCommand,
  type LaunchTemplateSpecification,
  RecordLifecycleActionHeartbeatCommand,
  SetDesiredCapacityCommand,
  TerminateInstanceInAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { isAwsError } from '../runtime/aws-errors.ts';
import { RetryableError } from '../runtime/errors.ts';

/** A lifecycle hook of one instance of a group. */
export type HookAction = { autoScalingGroup: string; hook: string; instanceId: string };

/** The group and the lifecycle state of an instance. */
export type InstanceState = { autoScalingGroup: string; lifecycleState: string };

/** The result of a change: applied, or refused with the message of Auto Scaling. */
export type ChangeResult = { applied: true } | { applied: false; refusal: string };

/** A version of a launch template: a number, or `$Latest` and `$Default`. */
export type LaunchTemplate = { id: string; version: string };

/** Sizes of a group, its instances, and its tags. */
export type GroupState = {
  name: string;
  min: number;
  max: number;
  desired: number;
  /** With the launch template of its launch, if it has one. */
  instances: readonly { instanceId: string; lifecycleState: string; launchTemplate?: LaunchTemplate }[];
  /** The launch template of the next launch. */
  launchTemplate?: LaunchTemplate;
  tags: ReadonlyMap<string, string>;
};

/** Most groups per page of DescribeAutoScalingGroups (Auto Scaling API reference). */
const GROUPS_PER_PAGE = 100;

/*
 * One function per operation and not one object with all of them: the bundle of a function then contains only the SDK commands
 * that it calls. Each function composes its own port from these.
 */

type Client = Pick<AutoScalingClient, 'send'>;

/** Completes a lifecycle hook. */
export function completeHook(
  client: Client,
  action: HookAction,
  result: 'CONTINUE' | 'ABANDON',
): Promise<ChangeResult> {
  return changeResult(() =>
    client.send(new CompleteLifecycleActionCommand({ ...hookInput(action), LifecycleActionResult: result })),
  );
}

/** Extends the wait of a lifecycle hook by its heartbeat timeout. */
export function recordHeartbeat(client: Client, action: HookAction): Promise<ChangeResult> {
  return changeResult(() => client.send(new RecordLifecycleActionHeartbeatCommand(hookInput(action))));
}

/** @returns undefined if no group contains the instance, or none contains it any more */
export async function describeInstance(
  client: Client,
  instanceId: string,
): Promise<InstanceState | undefined> {
  const { AutoScalingInstances } = await client.send(
    new DescribeAutoScalingInstancesCommand({ InstanceIds: [instanceId] }),
  );
  const found = AutoScalingInstances?.[0];
  if (!found) return undefined;
  return {
    autoScalingGroup: found.AutoScalingGroupName ?? '',
    lifecycleState: found.LifecycleState ?? '',
  };
}

/** @returns undefined if there is no such group */
export async function describeGroup(client: Client, name: string): Promise<GroupState | undefined> {
  const { AutoScalingGroups } = await client.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [name] }),
  );
  const found = AutoScalingGroups?.[0];
  return found && groupState(found);
}

/** Every group of the region, page by page. */
export async function* listGroups(client: Client): AsyncGenerator<GroupState> {
  for await (const group of groups(client)) yield groupState(group);
}

/** Every instance of every group of the region, page by page. */
export async function* listInstances(client: Client): AsyncGenerator<InstanceState & { instanceId: string }> {
  for await (const { AutoScalingGroupName = '', Instances = [] } of groups(client)) {
    for (const { InstanceId = '', LifecycleState = '' } of Instances) {
      yield {
        instanceId: InstanceId,
        autoScalingGroup: AutoScalingGroupName,
        lifecycleState: LifecycleState,
      };
    }
  }
}

async function* groups(client: Client): AsyncGenerator<AutoScalingGroup> {
  let token: string | undefined;
  do {
    const page = await client.send(
      new DescribeAutoScalingGroupsCommand({
        MaxRecords: GROUPS_PER_PAGE,
        ...(token !== undefined && { NextToken: token }),
      }),
    );
    yield* page.AutoScalingGroups ?? [];
    token = page.NextToken;
  } while (token);
}

/** @throws {RetryableError} `scaling-in-progress` if the group does not accept the change now */
export async function setDesiredCapacity(client: Client, group: string, desired: number): Promise<void> {
  await retryWhileScaling(() =>
    client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: group, DesiredCapacity: desired })),
  );
}

/**
 * Why the latest launch of a group failed; undefined if it succeeded, is in progress, or ended before `since`. Auto Scaling tries
 * again by itself, with waits of its own.
 */
export async function failedLaunch(client: Client, group: string, since: Date): Promise<string | undefined> {
  const { Activities = [] } = await client.send(
    new DescribeScalingActivitiesCommand({ AutoScalingGroupName: group, MaxRecords: 10 }),
  );
  // The newest comes first.
  const launch = Activities.find(({ Description }) => /^Launching /.test(Description ?? ''));
  if (launch?.StatusCode !== 'Failed') return undefined;
  if ((launch.EndTime ?? launch.StartTime ?? since) < since) return undefined;
  return launch.StatusMessage ?? 'unknown reason';
}

/**
 * Terminates an instance through its terminate hook.
 *
 * @param decrement whether the desired capacity falls with it; otherwise the group launches a replacement
 */
export function terminateInstance(
  client: Client,
  instanceId: string,
  decrement: boolean,
): Promise<ChangeResult> {
  return changeResult(() =>
    client.send(
      new TerminateInstanceInAutoScalingGroupCommand({
        InstanceId: instanceId,
        ShouldDecrementDesiredCapacity: decrement,
      }),
    ),
  );
}

function hookInput({ autoScalingGroup, hook, instanceId }: HookAction) {
  return { AutoScalingGroupName: autoScalingGroup, LifecycleHookName: hook, InstanceId: instanceId };
}

function groupState(group: AutoScalingGroup): GroupState {
  return {
    name: group.AutoScalingGroupName ?? '',
    min: group.MinSize ?? 0,
    max: group.MaxSize ?? 0,
    desired: group.DesiredCapacity ?? 0,
    instances: (group.Instances ?? []).map(({ InstanceId, LifecycleState, LaunchTemplate }) => ({
      instanceId: InstanceId ?? '',
      lifecycleState: LifecycleState ?? '',
      ...launchTemplate(LaunchTemplate),
    })),
    ...launchTemplate(
      group.LaunchTemplate ?? group.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification,
    ),
    tags: new Map((group.Tags ?? []).map(({ Key, Value }) => [Key ?? '', Value ?? ''])),
  };
}

/** The specification of a group may have no id; the name is as unique. */
function launchTemplate(
  specification: LaunchTemplateSpecification | undefined,
): { launchTemplate: LaunchTemplate } | undefined {
  const { LaunchTemplateId, LaunchTemplateName, Version } = specification ?? {};
  const id = LaunchTemplateName ?? LaunchTemplateId;
  return id === undefined || Version === undefined ? undefined : { launchTemplate: { id, version: Version } };
}

/**
 * Auto Scaling refuses with one error name, `ValidationError`, in every case: no active lifecycle action (completed before, or
 * not begun), no such instance, group or hook, a group at its minimum. The caller finds the case in the state, not in the text.
 */
async function changeResult(call: () => Promise<unknown>): Promise<ChangeResult> {
  try {
    await retryWhileScaling(call);
    return { applied: true };
  } catch (error) {
    if (isAwsError(error, 'ValidationError')) return { applied: false, refusal: error.message };
    throw error;
  }
}

async function retryWhileScaling(call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!isAwsError(error, 'ScalingActivityInProgress')) throw error;
    throw new RetryableError('scaling-in-progress', error.message, { cause: error });
  }
}
