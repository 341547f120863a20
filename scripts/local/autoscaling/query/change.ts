import { completeAction, recordHeartbeat } from '../core/actions.ts';
import { validationError } from '../core/errors.ts';
import {
  createGroup,
  deleteGroup,
  requireGroup,
  setDesiredCapacity,
  setHealth,
  setProtection,
  terminateInstance,
  updateGroup,
} from '../core/groups.ts';
import { deleteHook, putHook, toHook } from '../core/hooks.ts';
import type { World } from '../core/model.ts';
import { activityXml } from './describe.ts';
import type { Form } from './form.ts';
import { actionReference, actionResult, groupSettings, hookSettings, tags, zones } from './settings.ts';
import type { XmlValue } from './xml.ts';

/** The operations that change something. */
export const changeOperations: Record<string, (world: World, form: Form) => XmlValue> = {
  CreateAutoScalingGroup(world, form) {
    createGroup(world, {
      ...groupSettings(form),
      ...zones(form),
      name: form.required('AutoScalingGroupName'),
      tags: tags(form),
      hooks: form
        .structures('LifecycleHookSpecificationList')
        .map((spec) => toHook(hookSettings(spec), undefined)),
    });
    return undefined;
  },

  UpdateAutoScalingGroup(world, form) {
    updateGroup(world, form.required('AutoScalingGroupName'), groupSettings(form));
    return undefined;
  },

  DeleteAutoScalingGroup(world, form) {
    deleteGroup(world, form.required('AutoScalingGroupName'), form.boolean('ForceDelete') ?? false);
    return undefined;
  },

  SetDesiredCapacity(world, form) {
    form.required('DesiredCapacity');
    const desired = form.integer('DesiredCapacity') ?? 0;
    setDesiredCapacity(world, form.required('AutoScalingGroupName'), desired);
    return undefined;
  },

  TerminateInstanceInAutoScalingGroup(world, form) {
    form.required('ShouldDecrementDesiredCapacity');
    const decrement = form.boolean('ShouldDecrementDesiredCapacity') ?? false;
    return { Activity: activityXml(terminateInstance(world, form.required('InstanceId'), decrement)) };
  },

  SetInstanceProtection(world, form) {
    form.required('ProtectedFromScaleIn');
    const on = form.boolean('ProtectedFromScaleIn') ?? false;
    setProtection(world, form.required('AutoScalingGroupName'), form.texts('InstanceIds'), on);
    return {};
  },

  SetInstanceHealth(world, form) {
    const status = form.required('HealthStatus');
    if (status !== 'Healthy' && status !== 'Unhealthy') {
      throw validationError(`HealthStatus must be Healthy or Unhealthy, not ${status}`);
    }
    setHealth(world, form.required('InstanceId'), status === 'Healthy');
    return undefined;
  },

  PutLifecycleHook(world, form) {
    putHook(world, form.required('AutoScalingGroupName'), hookSettings(form));
    return {};
  },

  DeleteLifecycleHook(world, form) {
    deleteHook(world, form.required('AutoScalingGroupName'), form.required('LifecycleHookName'));
    return {};
  },

  CompleteLifecycleAction(world, form) {
    completeAction(world, actionReference(form), actionResult(form.required('LifecycleActionResult')));
    return {};
  },

  RecordLifecycleActionHeartbeat(world, form) {
    recordHeartbeat(world, actionReference(form));
    return {};
  },

  CreateOrUpdateTags(world, form) {
    for (const tag of form.structures('Tags')) {
      const group = requireGroup(world, tag.required('ResourceId'));
      const key = tag.required('Key');
      const value = tag.text('Value') ?? '';
      const propagate = tag.boolean('PropagateAtLaunch') ?? false;
      group.tags = [...group.tags.filter((other) => other.key !== key), { key, value, propagate }];
    }
    return undefined;
  },

  DeleteTags(world, form) {
    for (const tag of form.structures('Tags')) {
      const group = requireGroup(world, tag.required('ResourceId'));
      const key = tag.required('Key');
      group.tags = group.tags.filter((other) => other.key !== key);
    }
    return undefined;
  },
};
