import { requireGroup } from '../core/groups.ts';
import type { Activity, Group, Hook, Instance, Tag, World } from '../core/model.ts';
import type { Form } from './form.ts';
import { page } from './page.ts';
import type { XmlValue } from './xml.ts';

/** The operations without changes. Page sizes are those of the API reference. */
export const describeOperations: Record<string, (world: World, form: Form) => XmlValue> = {
  DescribeAutoScalingGroups(world, form) {
    const names = form.texts('AutoScalingGroupNames');
    const filters = form.structures('Filters');
    const groups = [...world.groups.values()]
      .filter((group) => names.length === 0 || names.includes(group.name))
      .filter((group) => filters.every((filter) => matchesFilter(group, filter)));
    const { items, nextToken } = page(groups, form, 50, 100);
    return { AutoScalingGroups: items.map(groupXml), NextToken: nextToken };
  },

  DescribeAutoScalingInstances(world, form) {
    const ids = form.texts('InstanceIds');
    const instances = [...world.groups.values()]
      .flatMap((group) => group.instances.map((instance) => ({ group, instance })))
      .filter(({ instance }) => ids.length === 0 || ids.includes(instance.id));
    const { items, nextToken } = page(instances, form, 50, 50);
    return {
      AutoScalingInstances: items.map(({ group, instance }) => ({
        ...instanceXml(instance),
        AutoScalingGroupName: group.name,
        // Upper case here, capitalised in DescribeAutoScalingGroups: so it is on AWS.
        HealthStatus: instance.healthy ? 'HEALTHY' : 'UNHEALTHY',
      })),
      NextToken: nextToken,
    };
  },

  DescribeLifecycleHooks(world, form) {
    const group = requireGroup(world, form.required('AutoScalingGroupName'));
    const names = form.texts('LifecycleHookNames');
    const hooks = group.hooks.filter((hook) => names.length === 0 || names.includes(hook.name));
    return { LifecycleHooks: hooks.map((hook) => hookXml(group, hook)) };
  },

  DescribeScalingActivities(world, form) {
    const name = form.text('AutoScalingGroupName');
    const ids = form.texts('ActivityIds');
    const groups = name === undefined ? [...world.groups.values()] : [requireGroup(world, name)];
    const activities = groups
      .flatMap((group) => group.activities)
      .filter((activity) => ids.length === 0 || ids.includes(activity.id))
      .sort((a, b) => b.startTime - a.startTime);
    const { items, nextToken } = page(activities, form, 100, 100);
    return { Activities: items.map(activityXml), NextToken: nextToken };
  },

  DescribeTags(world, form) {
    const filters = form.structures('Filters');
    const matches = (name: string, value: string) =>
      filters.filter((f) => f.text('Name') === name).every((f) => f.texts('Values').includes(value));
    const groups = [...world.groups.values()].filter((group) => matches('auto-scaling-group', group.name));
    const tags = groups.flatMap((group) =>
      group.tags
        .filter((tag) => matches('key', tag.key) && matches('value', tag.value))
        .map((tag) => tagXml(group, tag)),
    );
    const { items, nextToken } = page(tags, form, 50, 100);
    return { Tags: items, NextToken: nextToken };
  },
};

function matchesFilter(group: Group, filter: Form): boolean {
  const name = filter.text('Name') ?? '';
  const values = filter.texts('Values');
  if (name === 'tag-key') return group.tags.some((tag) => values.includes(tag.key));
  if (name === 'tag-value') return group.tags.some((tag) => values.includes(tag.value));
  const key = name.startsWith('tag:') ? name.slice('tag:'.length) : undefined;
  return group.tags.some((tag) => tag.key === key && values.includes(tag.value));
}

function groupXml(group: Group): XmlValue {
  return {
    AutoScalingGroupName: group.name,
    AutoScalingGroupARN: group.arn,
    LaunchTemplate: launchTemplateXml(group.launchTemplate),
    MinSize: group.min,
    MaxSize: group.max,
    DesiredCapacity: group.desired,
    DefaultCooldown: group.defaultCooldown,
    AvailabilityZones: group.zones,
    LoadBalancerNames: [],
    TargetGroupARNs: [],
    HealthCheckType: group.healthCheckType,
    HealthCheckGracePeriod: group.healthCheckGracePeriod,
    Instances: group.instances.map(instanceXml),
    CreatedTime: new Date(group.createdAt),
    SuspendedProcesses: [],
    VPCZoneIdentifier: group.subnets.join(','),
    EnabledMetrics: [],
    Status: group.deleting ? 'Delete in progress' : undefined,
    Tags: group.tags.map((tag) => tagXml(group, tag)),
    TerminationPolicies: ['Default'],
    NewInstancesProtectedFromScaleIn: group.newInstancesProtected,
    ServiceLinkedRoleARN: undefined,
    CapacityRebalance: group.capacityRebalance,
  };
}

function instanceXml(instance: Instance): Record<string, XmlValue> {
  return {
    InstanceId: instance.id,
    InstanceType: instance.type,
    AvailabilityZone: instance.zone,
    LifecycleState: instance.state,
    HealthStatus: instance.healthy ? 'Healthy' : 'Unhealthy',
    LaunchTemplate: launchTemplateXml(instance.launchTemplate),
    ProtectedFromScaleIn: instance.protectedFromScaleIn,
  };
}

function launchTemplateXml(launchTemplate: Group['launchTemplate']): XmlValue {
  if (launchTemplate === undefined) return undefined;
  return {
    LaunchTemplateId: launchTemplate.id,
    LaunchTemplateName: launchTemplate.name,
    Version: launchTemplate.version,
  };
}

function hookXml(group: Group, hook: Hook): XmlValue {
  const longest = Math.min(48 * 3600, 100 * hook.heartbeatTimeout);
  return {
    LifecycleHookName: hook.name,
    AutoScalingGroupName: group.name,
    LifecycleTransition: hook.transition,
    NotificationTargetARN: hook.notificationTargetArn,
    RoleARN: hook.roleArn,
    NotificationMetadata: hook.notificationMetadata,
    HeartbeatTimeout: hook.heartbeatTimeout,
    GlobalTimeout: longest,
    DefaultResult: hook.defaultResult,
  };
}

/** One activity; its details are JSON text. */
export function activityXml(activity: Activity): XmlValue {
  const progress = { Successful: 100, Failed: 100, Cancelled: 100, MidLifecycleAction: 60 } as const;
  const details = { 'Subnet ID': activity.subnet, 'Availability Zone': activity.zone };
  return {
    ActivityId: activity.id,
    AutoScalingGroupName: activity.group,
    Description: activity.description,
    Cause: activity.cause,
    StartTime: new Date(activity.startTime),
    EndTime: activity.endTime === undefined ? undefined : new Date(activity.endTime),
    StatusCode: activity.status,
    StatusMessage: activity.statusMessage === '' ? undefined : activity.statusMessage,
    Progress: activity.status in progress ? progress[activity.status as keyof typeof progress] : 30,
    Details: JSON.stringify(details),
  };
}

function tagXml(group: Group, tag: Tag): XmlValue {
  return {
    ResourceId: group.name,
    ResourceType: 'auto-scaling-group',
    Key: tag.key,
    Value: tag.value,
    PropagateAtLaunch: tag.propagate,
  };
}
