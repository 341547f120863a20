import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  CreateAutoScalingGroupCommand,
  CreateOrUpdateTagsCommand,
  DeleteAutoScalingGroupCommand,
  DeleteLifecycleHookCommand,
  DescribeAutoScalingGroupsCommand,
  DescribeAutoScalingInstancesCommand,
  DescribeLifecycleHooksCommand,
  DescribeScalingActivitiesCommand,
  DescribeTagsCommand,
  PutLifecycleHookCommand,
  PutScalingPolicyCommand,
  paginateDescribeAutoScalingGroups,
  RecordLifecycleActionHeartbeatCommand,
  ResourceInUseFault,
  ScalingActivityInProgressFault,
  SetDesiredCapacityCommand,
  SetInstanceHealthCommand,
  SetInstanceProtectionCommand,
  TerminateInstanceInAutoScalingGroupCommand,
  UpdateAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OutgoingEvent } from '../service.ts';
import { type Served, serve } from '../testing/serve.ts';
import { simulatedTimers } from '../timers.ts';
import { type AutoScaling, createAutoScaling, type LaunchedInstance } from './service.ts';

const START = Date.parse('2026-05-14T16:20:00Z');
const GROUP = 'aw-gha-default';

let timers: ReturnType<typeof simulatedTimers>;
let events: OutgoingEvent[];
let launched: LaunchedInstance[];
let terminated: LaunchedInstance[];
let autoScaling: AutoScaling;
let served: Served;
let client: AutoScalingClient;

beforeEach(async () => {
  timers = simulatedTimers(START);
  [events, launched, terminated] = [[], [], []];
  autoScaling = createAutoScaling({
    home: { account: '210987654321', region: 'us-west-2' },
    timers,
    publish: async (event) => void events.push(event),
    onLaunch: (instance) => void launched.push(instance),
    onTerminate: (instance) => void terminated.push(instance),
    onError: (error) => {
      throw error;
    },
  });
  served = await serve(autoScaling);
  client = new AutoScalingClient({ ...served.client, maxAttempts: 1 });
});

afterEach(async () => {
  client.destroy();
  autoScaling.stop();
  await served.close();
});

async function createFleet(desired: number, settings: { hooks?: boolean; spot?: boolean } = {}) {
  await client.send(
    new CreateAutoScalingGroupCommand({
      AutoScalingGroupName: GROUP,
      MinSize: 0,
      MaxSize: 5,
      DesiredCapacity: desired,
      VPCZoneIdentifier: 'subnet-0a,subnet-0b',
      AvailabilityZones: ['us-west-2a', 'us-west-2b'],
      Tags: [{ Key: 'team', Value: 'build & <test>', PropagateAtLaunch: true }],
      ...(settings.spot && {
        MixedInstancesPolicy: { InstancesDistribution: { OnDemandPercentageAboveBaseCapacity: 0 } },
      }),
      ...(settings.hooks !== false && {
        LifecycleHookSpecificationList: [
          {
            LifecycleHookName: 'aw-boot',
            LifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING',
            HeartbeatTimeout: 300,
            NotificationMetadata: '{"host":"gha"}',
          },
          {
            LifecycleHookName: 'aw-drain',
            LifecycleTransition: 'autoscaling:EC2_INSTANCE_TERMINATING',
            HeartbeatTimeout: 600,
            DefaultResult: 'CONTINUE',
          },
        ],
      }),
    }),
  );
  await autoScaling.settled();
}

async function group() {
  const { AutoScalingGroups = [] } = await client.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [GROUP] }),
  );
  const [found] = AutoScalingGroups;
  if (found === undefined) throw new Error('the group is gone');
  return found;
}

async function states() {
  return ((await group()).Instances ?? []).map((instance) => instance.LifecycleState);
}

/** The token of the newest lifecycle action of a hook. */
function tokenOf(hook: string): string {
  const found = events.findLast((event) => event.detail.LifecycleHookName === hook);
  return String(found?.detail.LifecycleActionToken);
}

const complete = (hook: string, result = 'CONTINUE') =>
  client.send(
    new CompleteLifecycleActionCommand({
      AutoScalingGroupName: GROUP,
      LifecycleHookName: hook,
      LifecycleActionToken: tokenOf(hook),
      LifecycleActionResult: result,
    }),
  );

describe('the Auto Scaling API over its own client', () => {
  it('holds a launch until its hook is completed, and shapes the events as AWS does', async () => {
    await createFleet(1);
    expect(await states()).toEqual(['Pending:Wait']);
    const [instance] = launched;
    expect(events).toEqual([
      {
        source: 'aws.autoscaling',
        detailType: 'EC2 Instance-launch Lifecycle Action',
        time: new Date(START),
        resources: [
          expect.stringMatching(
            /^arn:aws:autoscaling:us-west-2:210987654321:autoScalingGroup:[-0-9a-f]{36}:autoScalingGroupName\/aw-gha-default$/,
          ),
        ],
        detail: {
          LifecycleActionToken: expect.stringMatching(/^[-0-9a-f]{36}$/),
          AutoScalingGroupName: GROUP,
          LifecycleHookName: 'aw-boot',
          EC2InstanceId: instance?.id,
          LifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING',
          NotificationMetadata: '{"host":"gha"}',
          Origin: 'EC2',
          Destination: 'AutoScalingGroup',
        },
      },
    ]);
    await complete('aw-boot');
    await autoScaling.settled();
    expect(await states()).toEqual(['InService']);
    expect(events[1]).toMatchObject({
      detailType: 'EC2 Instance Launch Successful',
      resources: [expect.any(String), `arn:aws:ec2:us-west-2:210987654321:instance/${instance?.id}`],
      detail: {
        StatusCode: 'InProgress',
        EC2InstanceId: instance?.id,
        StatusMessage: '',
        StartTime: '2026-05-14T16:20:00Z',
        Details: { 'Availability Zone': 'us-west-2a', 'Subnet ID': 'subnet-0a' },
        Description: `Launching a new EC2 instance: ${instance?.id}`,
      },
    });
  });

  it('drains on terminate, and stops the instance only then', async () => {
    await createFleet(1);
    await complete('aw-boot');
    const InstanceId = launched[0]?.id;
    const { Activity } = await client.send(
      new TerminateInstanceInAutoScalingGroupCommand({ InstanceId, ShouldDecrementDesiredCapacity: true }),
    );
    expect(Activity).toMatchObject({
      StatusCode: 'InProgress',
      Description: `Terminating EC2 instance: ${InstanceId}`,
    });
    expect(Activity?.Cause).toContain('shrinking the capacity from 1 to 0');
    expect(await states()).toEqual(['Terminating:Wait']);
    expect(autoScaling.facts(InstanceId ?? '')?.targetLifecycleState).toBe('Terminated');
    await autoScaling.settled();
    expect(terminated).toEqual([]);
    await complete('aw-drain');
    await autoScaling.settled();
    expect(terminated.map((instance) => instance.id)).toEqual([InstanceId]);
    expect(await states()).toEqual([]);
    expect(events.at(-1)?.detailType).toBe('EC2 Instance Terminate Successful');
    expect(autoScaling.facts(InstanceId ?? '')).toBeUndefined();
  });

  it('refuses an action that has ended, by token and by instance id', async () => {
    await createFleet(1);
    await complete('aw-boot');
    await expect(complete('aw-boot')).rejects.toMatchObject({
      name: 'ValidationError',
      message: `No active Lifecycle Action found with token ${tokenOf('aw-boot')}`,
      $metadata: { httpStatusCode: 400 },
    });
    const InstanceId = launched[0]?.id ?? '';
    const heartbeat = client.send(
      new RecordLifecycleActionHeartbeatCommand({
        AutoScalingGroupName: GROUP,
        LifecycleHookName: 'aw-boot',
        InstanceId,
      }),
    );
    await expect(heartbeat).rejects.toMatchObject({
      name: 'ValidationError',
      message: `No active Lifecycle Action found with instance ID ${InstanceId}`,
    });
  });

  it('lets heartbeats hold an instance, and gives it up without them', async () => {
    await createFleet(1);
    const InstanceId = launched[0]?.id ?? '';
    timers.advance(299_000);
    await client.send(
      new RecordLifecycleActionHeartbeatCommand({
        AutoScalingGroupName: GROUP,
        LifecycleHookName: 'aw-boot',
        InstanceId,
      }),
    );
    timers.advance(299_000);
    expect(await states()).toEqual(['Pending:Wait']);
    timers.advance(1000);
    await autoScaling.settled();
    expect(await states()).toEqual(['Terminating:Wait', 'Pending:Wait']);
    const failed = events.find((event) => event.detailType === 'EC2 Instance Launch Unsuccessful');
    expect(failed?.detail).toMatchObject({ StatusCode: 'Failed', EC2InstanceId: InstanceId });
    expect(failed?.detail.StatusMessage).toMatch(/was abandoned: Heartbeat Timeout$/);
  });

  it('refuses capacities in the words of AWS', async () => {
    await createFleet(1);
    const set = (DesiredCapacity: number) =>
      client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: GROUP, DesiredCapacity }));
    await expect(set(6)).rejects.toMatchObject({
      name: 'ValidationError',
      message: 'New SetDesiredCapacity value 6 is above max value 5 for the AutoScalingGroup.',
    });
    const update = (settings: { MinSize?: number; MaxSize?: number }) =>
      client.send(new UpdateAutoScalingGroupCommand({ AutoScalingGroupName: GROUP, ...settings }));
    await update({ MinSize: 2 });
    expect(await group()).toMatchObject({ MinSize: 2, DesiredCapacity: 2 });
    await expect(set(1)).rejects.toThrow('is below min value 2');
    await expect(update({ MaxSize: 1 })).rejects.toThrow(
      'Max bound, 1, must be greater than or equal to min bound, 2',
    );
    const InstanceId = launched[0]?.id;
    await expect(
      client.send(
        new TerminateInstanceInAutoScalingGroupCommand({ InstanceId, ShouldDecrementDesiredCapacity: true }),
      ),
    ).rejects.toThrow("will violate group's min size constraint");
  });

  it('chooses an unprotected instance when it scales in, and none if all are protected', async () => {
    await createFleet(2, { hooks: false });
    const [first, second] = launched.map((instance) => instance.id);
    const protect = (ids: (string | undefined)[]) =>
      client.send(
        new SetInstanceProtectionCommand({
          AutoScalingGroupName: GROUP,
          InstanceIds: ids.map(String),
          ProtectedFromScaleIn: true,
        }),
      );
    await protect([first]);
    await client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: GROUP, DesiredCapacity: 1 }));
    await autoScaling.settled();
    expect(terminated.map((instance) => instance.id)).toEqual([second]);
    await client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: GROUP, DesiredCapacity: 0 }));
    expect(await states()).toEqual(['InService']);
    const { Activities = [] } = await client.send(
      new DescribeScalingActivitiesCommand({ AutoScalingGroupName: GROUP, MaxRecords: 1 }),
    );
    expect(Activities[0]?.Description).toContain('protected from scale-in');
    await expect(protect(['i-00000000000000000'])).rejects.toThrow('is not part of Auto Scaling group');
  });

  it('replaces an unhealthy instance, and refuses a second termination', async () => {
    await createFleet(1);
    await complete('aw-boot');
    const InstanceId = launched[0]?.id ?? '';
    await client.send(new SetInstanceHealthCommand({ InstanceId, HealthStatus: 'Unhealthy' }));
    expect(await states()).toEqual(['Terminating:Wait', 'Pending:Wait']);
    const again = client.send(
      new TerminateInstanceInAutoScalingGroupCommand({ InstanceId, ShouldDecrementDesiredCapacity: false }),
    );
    await expect(again).rejects.toBeInstanceOf(ScalingActivityInProgressFault);
  });

  it('stops a reclaimed Spot instance after two minutes regardless of hooks', async () => {
    await createFleet(1, { spot: true });
    await complete('aw-boot');
    const id = launched[0]?.id ?? '';
    autoScaling.reclaim(id);
    await autoScaling.settled();
    expect(events.at(-1)).toMatchObject({
      source: 'aws.ec2',
      detailType: 'EC2 Spot Instance Interruption Warning',
      resources: [`arn:aws:ec2:us-west-2a:instance/${id}`],
      detail: { 'instance-id': id, 'instance-action': 'terminate' },
    });
    expect(autoScaling.facts(id)?.reclaimAt).toEqual(new Date(START + 120_000));
    await client.send(
      new TerminateInstanceInAutoScalingGroupCommand({
        InstanceId: id,
        ShouldDecrementDesiredCapacity: true,
      }),
    );
    timers.advance(119_999);
    expect(await states()).toEqual(['Terminating:Wait']);
    timers.advance(1);
    await autoScaling.settled();
    expect(await states()).toEqual([]);
    expect(terminated.map((instance) => instance.id)).toEqual([id]);
  });

  it('reads and changes hooks and tags, and ends what a deleted hook held', async () => {
    await createFleet(1);
    const name = { AutoScalingGroupName: GROUP };
    await client.send(
      new PutLifecycleHookCommand({ ...name, LifecycleHookName: 'aw-boot', HeartbeatTimeout: 60 }),
    );
    const { LifecycleHooks } = await client.send(new DescribeLifecycleHooksCommand(name));
    expect(LifecycleHooks?.find((hook) => hook.LifecycleHookName === 'aw-boot')).toMatchObject({
      HeartbeatTimeout: 60,
      GlobalTimeout: 6000,
      DefaultResult: 'ABANDON',
      NotificationMetadata: '{"host":"gha"}',
    });
    await expect(
      client.send(
        new PutLifecycleHookCommand({ ...name, LifecycleHookName: 'aw-boot', HeartbeatTimeout: 29 }),
      ),
    ).rejects.toThrow('between 30 and 7200');
    await client.send(new DeleteLifecycleHookCommand({ ...name, LifecycleHookName: 'aw-boot' }));
    expect(await states()).toEqual(['Terminating:Wait', 'InService']);
    await client.send(
      new CreateOrUpdateTagsCommand({
        Tags: [{ ResourceId: GROUP, ResourceType: 'auto-scaling-group', Key: 'k', Value: 'v' }],
      }),
    );
    const { Tags } = await client.send(
      new DescribeTagsCommand({ Filters: [{ Name: 'key', Values: ['team', 'k'] }] }),
    );
    expect(Tags?.map((tag) => tag.Value)).toEqual(['build & <test>', 'v']);
  });

  it('pages and filters', async () => {
    for (const name of ['a', 'b', 'c']) {
      await client.send(
        new CreateAutoScalingGroupCommand({ AutoScalingGroupName: name, MinSize: 1, MaxSize: 1 }),
      );
    }
    const names: (string | undefined)[] = [];
    for await (const { AutoScalingGroups } of paginateDescribeAutoScalingGroups(
      { client, pageSize: 2 },
      {},
    )) {
      names.push(...(AutoScalingGroups ?? []).map((found) => found.AutoScalingGroupName));
    }
    expect(names).toEqual(['a', 'b', 'c']);
    const { AutoScalingInstances } = await client.send(
      new DescribeAutoScalingInstancesCommand({ InstanceIds: [launched[1]?.id ?? '', 'i-0000000a'] }),
    );
    expect(AutoScalingInstances).toMatchObject([
      { AutoScalingGroupName: 'b', HealthStatus: 'HEALTHY', LifecycleState: 'InService' },
    ]);
    const unknown = client.send(new DescribeAutoScalingGroupsCommand({ NextToken: 'x' }));
    await expect(unknown).rejects.toMatchObject({ name: 'InvalidNextToken' });
  });

  it('deletes a group with instances only by force, and then without hooks', async () => {
    await createFleet(1);
    const remove = (ForceDelete: boolean) =>
      client.send(new DeleteAutoScalingGroupCommand({ AutoScalingGroupName: GROUP, ForceDelete }));
    await expect(remove(false)).rejects.toBeInstanceOf(ResourceInUseFault);
    await remove(true);
    await autoScaling.settled();
    expect(terminated).toHaveLength(1);
    expect(autoScaling.groups()).toEqual([]);
    await expect(remove(true)).rejects.toThrow('AutoScalingGroup name not found');
  });

  it('never takes an operation that it does not emulate for done', async () => {
    const policy = client.send(new PutScalingPolicyCommand({ AutoScalingGroupName: GROUP, PolicyName: 'p' }));
    await expect(policy).rejects.toMatchObject({ name: 'InvalidAction' });
  });
});
