import { type AutoScalingClient, CreateAutoScalingGroupCommand } from '@aws-sdk/client-auto-scaling';
import {
  autoScalingGroupName,
  DRAIN_TIMEOUT_TAG,
  hookName,
  ROLE_ID_TAG,
  WARMING_SET_TAG,
} from '../../../shared/fleet/names.ts';
import { roleId } from '../gateway/callers.ts';
import { type Deployment, type GroupSettings, USUAL_RUNNER } from './settings.ts';

/** Heartbeat timeouts in seconds, as in the Terraform module, for groups without their own. */
const USUAL_TIMEOUT = { boot: 300, drain: 1_800 };

const USUAL_TYPE = 'm6id.large';

/** Makes a runner group with both of its hooks from the start: hooks added later miss the first instances. */
export async function makeGroup(
  autoScaling: AutoScalingClient,
  group: GroupSettings,
  deployment: Deployment,
): Promise<void> {
  const { prefix, home } = deployment;
  const name = autoScalingGroupName(prefix, group);
  const timeout = group.heartbeatTimeout ?? USUAL_TIMEOUT;
  const { drainTimeoutSeconds } = { ...USUAL_RUNNER, ...group.runner };
  const hook = (phase: 'boot' | 'drain', transition: string, DefaultResult: string) => ({
    LifecycleHookName: hookName(prefix, phase),
    LifecycleTransition: `autoscaling:EC2_INSTANCE_${transition}`,
    HeartbeatTimeout: timeout[phase],
    DefaultResult,
  });
  await autoScaling.send(
    new CreateAutoScalingGroupCommand({
      AutoScalingGroupName: name,
      MinSize: group.min,
      MaxSize: group.max,
      DesiredCapacity: group.desired ?? group.min,
      AvailabilityZones: ['a', 'b'].map((zone) => `${home.region}${zone}`),
      MixedInstancesPolicy: {
        LaunchTemplate: {
          LaunchTemplateSpecification: { LaunchTemplateName: name, Version: '1' },
          Overrides: [{ InstanceType: group.instanceType ?? USUAL_TYPE }],
        },
        InstancesDistribution: {
          OnDemandBaseCapacity: 0,
          OnDemandPercentageAboveBaseCapacity: group.purchase === 'spot' ? 0 : 100,
        },
      },
      LifecycleHookSpecificationList: [
        hook('boot', 'LAUNCHING', 'ABANDON'),
        hook('drain', 'TERMINATING', 'CONTINUE'),
      ],
      Tags: [
        { Key: 'Name', Value: name, PropagateAtLaunch: true },
        // The role of the instances has the name of the group, as in the Terraform module.
        { Key: ROLE_ID_TAG, Value: roleId(name), PropagateAtLaunch: false },
        ...(group.warmingSet === undefined
          ? []
          : [{ Key: WARMING_SET_TAG, Value: group.warmingSet, PropagateAtLaunch: false }]),
        { Key: DRAIN_TIMEOUT_TAG, Value: String(drainTimeoutSeconds), PropagateAtLaunch: false },
      ],
    }),
  );
}
