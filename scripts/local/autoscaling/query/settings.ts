import type { ActionReference } from '../core/actions.ts';
import { validationError } from '../core/errors.ts';
import type { GroupSettings } from '../core/groups.ts';
import type { HookSettings } from '../core/hooks.ts';
import type { ActionResult, Group, Tag, Transition } from '../core/model.ts';
import type { Form } from './form.ts';

/** Reads the settings of a group. Settings of networks, load balancers and policies are accepted and not used. */
export function groupSettings(form: Form): GroupSettings {
  const mixed = form.structure('MixedInstancesPolicy');
  const override = mixed.structure('LaunchTemplate').structures('Overrides')[0];
  return {
    min: form.integer('MinSize'),
    max: form.integer('MaxSize'),
    desired: form.integer('DesiredCapacity'),
    instanceType: override?.text('InstanceType'),
    purchase: purchase(mixed.structure('InstancesDistribution')),
    launchTemplate:
      launchTemplate(form.structure('LaunchTemplate')) ??
      launchTemplate(mixed.structure('LaunchTemplate').structure('LaunchTemplateSpecification')),
    defaultCooldown: form.integer('DefaultCooldown'),
    healthCheckType: form.text('HealthCheckType'),
    healthCheckGracePeriod: form.integer('HealthCheckGracePeriod'),
    newInstancesProtected: form.boolean('NewInstancesProtectedFromScaleIn'),
    capacityRebalance: form.boolean('CapacityRebalance'),
  };
}

/** Spot if nothing above a base of zero is bought on demand; mixed groups are not emulated. */
function purchase(distribution: Form): Group['purchase'] | undefined {
  const share = distribution.integer('OnDemandPercentageAboveBaseCapacity');
  if (share === undefined) return undefined;
  return share === 0 && (distribution.integer('OnDemandBaseCapacity') ?? 0) === 0 ? 'spot' : 'on-demand';
}

function launchTemplate(form: Form): Group['launchTemplate'] {
  const id = form.text('LaunchTemplateId');
  const name = form.text('LaunchTemplateName');
  if (id === undefined && name === undefined) return undefined;
  return { id, name, version: form.text('Version') };
}

/** Zones and subnets, paired by position. */
export function zones(form: Form): { zones: string[]; subnets: string[] } {
  const subnets = (form.text('VPCZoneIdentifier') ?? '').split(',').map((subnet) => subnet.trim());
  return { zones: form.texts('AvailabilityZones'), subnets: subnets.filter((subnet) => subnet !== '') };
}

export function tags(form: Form): Tag[] {
  return form.structures('Tags').map((tag) => ({
    key: tag.required('Key'),
    value: tag.text('Value') ?? '',
    propagate: tag.boolean('PropagateAtLaunch') ?? false,
  }));
}

export function hookSettings(form: Form): HookSettings {
  const result = form.text('DefaultResult');
  return {
    name: form.required('LifecycleHookName'),
    transition: transition(form.text('LifecycleTransition')),
    heartbeatTimeout: form.integer('HeartbeatTimeout'),
    defaultResult: result === undefined ? undefined : actionResult(result),
    notificationMetadata: form.text('NotificationMetadata'),
    notificationTargetArn: form.text('NotificationTargetARN'),
    roleArn: form.text('RoleARN'),
  };
}

function transition(value: string | undefined): Transition | undefined {
  if (value === undefined) return undefined;
  if (value === 'autoscaling:EC2_INSTANCE_LAUNCHING' || value === 'autoscaling:EC2_INSTANCE_TERMINATING') {
    return value;
  }
  throw validationError(`Invalid LifecycleTransition: ${value}`);
}

export function actionResult(value: string): ActionResult {
  if (value === 'CONTINUE' || value === 'ABANDON') return value;
  throw validationError(`Lifecycle Action Result must be one of [CONTINUE, ABANDON], not ${value}`);
}

/** Tokens are UUIDs, 36 characters (API reference). */
const TOKEN_LENGTH = 36;

export function actionReference(form: Form): ActionReference {
  const token = form.text('LifecycleActionToken');
  const instanceId = form.text('InstanceId');
  if (token === undefined && instanceId === undefined) {
    throw validationError('Either LifecycleActionToken or InstanceId must be specified');
  }
  if (token !== undefined && token.length !== TOKEN_LENGTH) {
    throw validationError(
      `1 validation error detected: Value '${token}' at 'lifecycleActionToken' failed to satisfy constraint: Member must have length ${TOKEN_LENGTH}`,
    );
  }
  return {
    group: form.required('AutoScalingGroupName'),
    hook: form.required('LifecycleHookName'),
    token,
    instanceId,
  };
}
