import type { OutgoingEvent } from '../../service.ts';
import type { Activity, Group, Instance, LifecycleAction, World } from './model.ts';

const SOURCE = 'aws.autoscaling';

/** Times in event details have whole seconds. */
function instant(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}

function instanceArn(world: World, id: string): string {
  return `arn:aws:ec2:${world.home.region}:${world.home.account}:instance/${id}`;
}

/** `EC2 Instance-launch Lifecycle Action` or `EC2 Instance-terminate Lifecycle Action`. */
export function lifecycleActionEvent(
  world: World,
  group: Group,
  instance: Instance,
  action: LifecycleAction,
) {
  const { hook } = action;
  const launching = hook.transition === 'autoscaling:EC2_INSTANCE_LAUNCHING';
  return event(world, `EC2 Instance-${launching ? 'launch' : 'terminate'} Lifecycle Action`, [group.arn], {
    LifecycleActionToken: action.token,
    AutoScalingGroupName: group.name,
    LifecycleHookName: hook.name,
    EC2InstanceId: instance.id,
    LifecycleTransition: hook.transition,
    ...(hook.notificationMetadata !== undefined && { NotificationMetadata: hook.notificationMetadata }),
    Origin: launching ? 'EC2' : 'AutoScalingGroup',
    Destination: launching ? 'AutoScalingGroup' : 'EC2',
  });
}

export function launchSuccessfulEvent(world: World, group: Group, instance: Instance) {
  return activityEvent(world, group, 'EC2 Instance Launch Successful', instance.launch, instance.id, {
    Origin: 'EC2',
    Destination: 'AutoScalingGroup',
  });
}

/** @param instanceId empty if no instance was launched */
export function launchUnsuccessfulEvent(world: World, group: Group, activity: Activity, instanceId: string) {
  return activityEvent(world, group, 'EC2 Instance Launch Unsuccessful', activity, instanceId);
}

export function terminateSuccessfulEvent(world: World, group: Group, activity: Activity, instanceId: string) {
  return activityEvent(world, group, 'EC2 Instance Terminate Successful', activity, instanceId, {
    Origin: 'AutoScalingGroup',
    Destination: 'EC2',
  });
}

function activityEvent(
  world: World,
  group: Group,
  detailType: string,
  activity: Activity,
  instanceId: string,
  extra: Record<string, string> = {},
) {
  const resources = [group.arn, ...(instanceId === '' ? [] : [instanceArn(world, instanceId)])];
  return event(world, detailType, resources, {
    // Events of success also have the status InProgress: they precede the end of the activity.
    StatusCode: activity.status === 'Failed' ? 'Failed' : 'InProgress',
    AutoScalingGroupName: group.name,
    ActivityId: activity.id,
    Details: { 'Availability Zone': activity.zone, 'Subnet ID': activity.subnet },
    RequestId: activity.id,
    StatusMessage: activity.statusMessage,
    EndTime: instant(world.now),
    EC2InstanceId: instanceId,
    StartTime: instant(activity.startTime),
    Cause: activity.cause,
    Description: activity.description,
    ...extra,
  });
}

function event(
  world: World,
  detailType: string,
  resources: string[],
  detail: Record<string, unknown>,
): OutgoingEvent {
  return { source: SOURCE, detailType, resources, detail, time: new Date(world.now) };
}

/** The ARN names a zone where others name a region, and no account. */
function spotArn(instance: Instance): string {
  return `arn:aws:ec2:${instance.zone}:instance/${instance.id}`;
}

export function interruptionEvent(world: World, instance: Instance): OutgoingEvent {
  return {
    source: 'aws.ec2',
    detailType: 'EC2 Spot Instance Interruption Warning',
    resources: [spotArn(instance)],
    detail: { 'instance-id': instance.id, 'instance-action': 'terminate' },
    time: new Date(world.now),
  };
}

export function rebalanceEvent(world: World, instance: Instance): OutgoingEvent {
  return {
    source: 'aws.ec2',
    detailType: 'EC2 Instance Rebalance Recommendation',
    resources: [spotArn(instance)],
    detail: { 'instance-id': instance.id },
    time: new Date(world.now),
  };
}
