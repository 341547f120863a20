import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OutgoingEvent, ServiceResponse } from '../service.ts';
import { simulatedTimers } from '../timers.ts';
import {
  type AutoScaling,
  type AutoScalingOptions,
  createAutoScaling,
  type LaunchedInstance,
} from './service.ts';

const START = Date.parse('2026-05-14T16:20:00Z');
const HOOK = {
  'LifecycleHookSpecificationList.member.1.LifecycleHookName': 'aw-boot',
  'LifecycleHookSpecificationList.member.1.LifecycleTransition': 'autoscaling:EC2_INSTANCE_LAUNCHING',
  'LifecycleHookSpecificationList.member.1.HeartbeatTimeout': '60',
};
const SPOT = { 'MixedInstancesPolicy.InstancesDistribution.OnDemandPercentageAboveBaseCapacity': '0' };

let timers: ReturnType<typeof simulatedTimers>;
let events: OutgoingEvent[];
let launched: LaunchedInstance[];
let terminated: string[];
let errors: unknown[];
let autoScaling: AutoScaling;

function start(options: Partial<AutoScalingOptions> = {}): void {
  autoScaling = createAutoScaling({
    home: { account: '210987654321', region: 'us-west-2' },
    timers,
    publish: async (event) => void events.push(event),
    onLaunch: (instance) => void launched.push(instance),
    onTerminate: ({ id }) => void terminated.push(id),
    onError: (error) => errors.push(error),
    ...options,
  });
}

beforeEach(() => {
  timers = simulatedTimers(START);
  [events, launched, terminated, errors] = [[], [], [], []];
});

afterEach(() => autoScaling.stop());

function call(operation: string, parameters: Record<string, string> = {}): Promise<ServiceResponse> {
  return autoScaling.handle({
    method: 'POST',
    path: '/',
    query: new URLSearchParams(),
    headers: {},
    body: Buffer.from(
      new URLSearchParams({ Action: operation, Version: '2011-01-01', ...parameters }).toString(),
    ),
    region: 'us-west-2',
    service: 'autoscaling',
    operation,
  });
}

async function createGroup(parameters: Record<string, string> = {}): Promise<void> {
  const sizes = { AutoScalingGroupName: 'g', MinSize: '0', MaxSize: '3', DesiredCapacity: '1' };
  expect(await call('CreateAutoScalingGroup', { ...sizes, ...parameters })).toMatchObject({ status: 200 });
  await autoScaling.settled();
}

const states = () => autoScaling.groups()[0]?.instances.map((instance) => instance.state);
const types = () => events.map((event) => event.detailType);
const complete = () =>
  call('CompleteLifecycleAction', {
    AutoScalingGroupName: 'g',
    LifecycleHookName: 'aw-boot',
    InstanceId: launched[0]?.id ?? '',
    LifecycleActionResult: 'CONTINUE',
  });

describe('what can be asked of the emulation', () => {
  it('without capacity publishes an event without an instance, and recovers', async () => {
    start({ behaviour: { hasCapacity: () => false } });
    await createGroup({ 'AvailabilityZones.member.1': 'us-west-2b', VPCZoneIdentifier: 'subnet-0b' });
    expect(launched).toEqual([]);
    expect(events[0]).toMatchObject({
      detailType: 'EC2 Instance Launch Unsuccessful',
      resources: [expect.stringContaining(':autoScalingGroupName/g')],
      detail: {
        StatusCode: 'Failed',
        EC2InstanceId: '',
        Details: { 'Availability Zone': 'us-west-2b', 'Subnet ID': 'subnet-0b' },
        StatusMessage: expect.stringContaining(
          'sufficient c5ad.xlarge capacity in the Availability Zone you requested (us-west-2b)',
        ),
        Description: expect.stringMatching(/^Launching a new EC2 instance\. {2}Status Reason: We currently/),
      },
    });
    autoScaling.behave({ hasCapacity: () => true });
    timers.advance(10_000);
    expect(states()).toEqual(['InService']);
  });

  it('delivers an event twice, or loses it', async () => {
    start({ deliveries: ({ detailType }) => (detailType.endsWith('Action') ? 2 : 0) });
    await createGroup(HOOK);
    await complete();
    await autoScaling.settled();
    expect(types()).toEqual(Array(2).fill('EC2 Instance-launch Lifecycle Action'));
    expect(events[0]).toEqual(events[1]);
    expect(states()).toEqual(['InService']);
  });

  it('does not find an action yet, although the instance waits', async () => {
    start({ behaviour: { actionDelaySeconds: 2 } });
    await createGroup(HOOK);
    expect(String((await complete()).body)).toContain('No active Lifecycle Action found with instance ID i-');
    expect(states()).toEqual(['Pending:Wait']);
    timers.advance(2000);
    expect(await complete()).toMatchObject({ status: 200 });
    expect(states()).toEqual(['InService']);
  });

  it('shortens durations, and leaves points in time alone', async () => {
    start({ behaviour: { timeScale: 60, launchSeconds: 30 } });
    await createGroup({ ...HOOK, ...SPOT });
    timers.advance(499);
    expect(states()).toEqual(['Pending']);
    timers.advance(1);
    expect(states()).toEqual(['Pending:Wait']);
    const id = launched[0]?.id ?? '';
    autoScaling.reclaim(id);
    expect(autoScaling.facts(id)?.reclaimAt).toEqual(new Date(START + 500 + 2000));
    timers.advance(999);
    expect(states()).toEqual(['Pending:Wait']);
    timers.advance(1);
    expect(terminated).toEqual([id]);
  });

  it('recommends to rebalance, and does no more than that', async () => {
    start();
    await createGroup(SPOT);
    const id = launched[0]?.id ?? '';
    timers.advance(1000);
    autoScaling.recommendRebalance(id);
    await autoScaling.settled();
    expect(events.at(-1)).toMatchObject({
      source: 'aws.ec2',
      detailType: 'EC2 Instance Rebalance Recommendation',
      detail: { 'instance-id': id },
    });
    expect(autoScaling.facts(id)?.rebalanceNoticedAt).toEqual(new Date(START + 1000));
    expect(states()).toEqual(['InService']);
  });

  it('reclaims Spot instances only', async () => {
    start();
    await createGroup();
    expect(() => autoScaling.reclaim(launched[0]?.id ?? '')).toThrow('is not a Spot instance');
    expect(() => autoScaling.reclaim('i-00000000')).toThrow('No managed instance found');
  });

  it('replaces an instance whose process ended, and one that did not start', async () => {
    let broken = true;
    start({
      onLaunch(instance) {
        launched.push(instance);
        if (!broken) return;
        broken = false;
        throw new Error('no disk');
      },
    });
    await createGroup(HOOK);
    expect(errors).toEqual([new Error('no disk')]);
    expect(types()).toContain('EC2 Instance Launch Unsuccessful');
    expect(states()).toEqual(['Pending:Wait']);
    autoScaling.instanceStopped(launched[1]?.id ?? '');
    autoScaling.instanceStopped(launched[1]?.id ?? '');
    timers.advance(5000);
    await autoScaling.settled();
    expect(launched).toHaveLength(3);
    expect(terminated, 'there was nothing left to stop').toEqual([]);
  });

  it('runs the terminate hooks of an instance that is gone, until they time out', async () => {
    start();
    const drain = Object.fromEntries(
      Object.entries(HOOK).map(([key, value]) => [key, value.replace('LAUNCHING', 'TERMINATING')]),
    );
    await createGroup(drain);
    autoScaling.instanceStopped(launched[0]?.id ?? '');
    expect(states()).toEqual(['Terminating:Wait', 'InService']);
    timers.advance(60_000);
    expect(states()).toEqual(['InService']);
  });

  it('fires no timer after it was stopped', async () => {
    start();
    await createGroup(HOOK);
    autoScaling.stop();
    timers.advance(3_600_000);
    expect(states()).toEqual(['Pending:Wait']);
  });
});

describe('malformed calls', () => {
  it.each([
    ['SetDesiredCapacity', { AutoScalingGroupName: 'g' }, "Value null at 'desiredCapacity'"],
    [
      'SetDesiredCapacity',
      { AutoScalingGroupName: 'g', DesiredCapacity: '1e9' },
      'Member must be an integer',
    ],
    [
      'SetDesiredCapacity',
      { AutoScalingGroupName: 'x', DesiredCapacity: '1' },
      "AutoScalingGroup 'x' not found",
    ],
    ['SetInstanceHealth', { InstanceId: 'i-1', HealthStatus: 'ill' }, 'HealthStatus must be'],
    ['CompleteLifecycleAction', { AutoScalingGroupName: 'g' }, 'Either LifecycleActionToken or InstanceId'],
    ['RecordLifecycleActionHeartbeat', { LifecycleActionToken: 'short' }, 'Member must have length 36'],
    [
      'PutLifecycleHook',
      { AutoScalingGroupName: 'g', LifecycleHookName: 'h' },
      'LifecycleTransition is required',
    ],
    [
      'PutLifecycleHook',
      { LifecycleHookName: 'h', LifecycleTransition: 'up' },
      'Invalid LifecycleTransition',
    ],
    [
      'DeleteLifecycleHook',
      { AutoScalingGroupName: 'g', LifecycleHookName: '<h>&' },
      '&lt;h&gt;&amp; does not exist',
    ],
    ['toString', {}, 'Could not find operation toString'],
  ])('refuses %s %j', async (operation, parameters, message) => {
    start();
    await createGroup();
    const { status, body } = await call(operation, { AutoScalingGroupName: 'g', ...parameters });
    expect(status).toBe(400);
    expect(String(body)).toContain(message);
    expect(states()).toEqual(['InService']);
  });
});
