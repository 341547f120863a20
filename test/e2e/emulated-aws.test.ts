import { readFile } from 'node:fs/promises';
import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  CreateAutoScalingGroupCommand,
  RecordLifecycleActionHeartbeatCommand,
  TerminateInstanceInAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import {
  CloudWatchClient,
  DeleteAlarmsCommand,
  PutMetricAlarmCommand,
  type PutMetricAlarmCommandInput,
  PutMetricDataCommand,
} from '@aws-sdk/client-cloudwatch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AutoScaling,
  createAutoScaling,
  type LaunchedInstance,
} from '../../scripts/local/autoscaling/service.ts';
import { type CloudWatch, createCloudWatch } from '../../scripts/local/cloudwatch/service.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { type MetadataServer, startMetadataServer } from '../../scripts/local/metadata/server.ts';
import type { OutgoingEvent } from '../../scripts/local/service.ts';
import { type Served, serve } from '../../scripts/local/testing/serve.ts';

// The emulated services on the instance's own clock, seen through real clients, held against samples of the real ones.

const HOME = { account: '210987654321', region: 'us-west-2' };
const GROUP = 'aw-gha-default';
/** A period of an alarm of 60 s lasts a second, the two minutes of a Spot notice last 15 seconds. */
const TIME_SCALE = { cloudWatch: 60, autoScaling: 8 };

/** Heartbeat timeout of the hooks in seconds, and how long it lasts here in milliseconds: a computer may stand still for some seconds. */
const HEARTBEAT_SECONDS = 48;
const HEARTBEAT_MS = (HEARTBEAT_SECONDS * 1000) / TIME_SCALE.autoScaling;

/** Limit of a wait: it only ends what hangs. */
const patience = { seconds: 120 };

let events: OutgoingEvent[];
let launched: LaunchedInstance[];
let terminated: string[];
let hasCapacity: boolean;
let autoScaling: AutoScaling;
let cloudWatch: CloudWatch;
let metadata: MetadataServer;
let served: Served[];
let scaling: AutoScalingClient;
let watching: CloudWatchClient;

beforeEach(async () => {
  [events, launched, terminated, hasCapacity] = [[], [], [], true];
  const publish = async (event: OutgoingEvent) => void events.push(event);
  const onError = (error: unknown) => {
    throw error;
  };
  autoScaling = createAutoScaling({
    home: HOME,
    publish,
    onError,
    onLaunch: (instance) => void launched.push(instance),
    onTerminate: ({ id }) => void terminated.push(id),
    behaviour: { timeScale: TIME_SCALE.autoScaling, hasCapacity: () => hasCapacity },
  });
  cloudWatch = createCloudWatch({ home: HOME, publish, onError, timeScale: TIME_SCALE.cloudWatch });
  metadata = await startMetadataServer((id) => autoScaling.facts(id));
  served = [await serve(autoScaling), await serve(cloudWatch)];
  scaling = new AutoScalingClient({ ...served[0]?.client });
  watching = new CloudWatchClient({ ...served[1]?.client });
});

afterEach(async () => {
  scaling.destroy();
  watching.destroy();
  autoScaling.stop();
  cloudWatch.stop();
  await metadata.close();
  for (const each of served) await each.close();
});

async function createFleet(): Promise<string> {
  const hook = (name: string, transition: string) => ({
    LifecycleHookName: name,
    LifecycleTransition: `autoscaling:EC2_INSTANCE_${transition}`,
    HeartbeatTimeout: HEARTBEAT_SECONDS,
    NotificationMetadata: '{"host":"gha"}',
  });
  await scaling.send(
    new CreateAutoScalingGroupCommand({
      AutoScalingGroupName: GROUP,
      MinSize: 0,
      MaxSize: 3,
      DesiredCapacity: 1,
      MixedInstancesPolicy: { InstancesDistribution: { OnDemandPercentageAboveBaseCapacity: 0 } },
      LifecycleHookSpecificationList: [hook('aw-boot', 'LAUNCHING'), hook('aw-drain', 'TERMINATING')],
    }),
  );
  return launched[0]?.id ?? '';
}

const action = (hook: string, InstanceId: string) => ({
  AutoScalingGroupName: GROUP,
  LifecycleHookName: hook,
  InstanceId,
});
const complete = (hook: string, id: string) =>
  scaling.send(
    new CompleteLifecycleActionCommand({ ...action(hook, id), LifecycleActionResult: 'CONTINUE' }),
  );

/** What the instance itself sees; undefined for 404. */
async function see(id: string, item: string): Promise<string | undefined> {
  const base = `${metadata.endpointOf(id)}/latest`;
  const ttl = { 'X-aws-ec2-metadata-token-ttl-seconds': '60' };
  const session = await fetch(`${base}/api/token`, { method: 'PUT', headers: ttl });
  const headers = { 'X-aws-ec2-metadata-token': await session.text() };
  const response = await fetch(`${base}/meta-data/${item}`, { headers });
  return response.status === 200 ? response.text() : undefined;
}

const stateOf = (id: string) =>
  autoScaling
    .groups()
    .flatMap((group) => group.instances)
    .find((instance) => instance.id === id)?.state;

describe('the emulated services on the real clock', () => {
  it('keeps a runner while heartbeats arrive, and terminates it within one timeout of the last', async () => {
    const id = await createFleet();
    for (const end = Date.now() + 1.2 * HEARTBEAT_MS; Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, HEARTBEAT_MS / 20));
      await scaling.send(new RecordLifecycleActionHeartbeatCommand(action('aw-boot', id)));
    }
    expect(stateOf(id)).toBe('Pending:Wait');
    expect(await see(id, 'autoscaling/target-lifecycle-state')).toBe('InService');
    await waitFor('the silent runner to be given up', () => stateOf(id) === 'Terminating:Wait', patience);
    expect(await see(id, 'autoscaling/target-lifecycle-state')).toBe('Terminated');
    await waitFor('it to be gone', () => terminated.includes(id), patience);
  });

  it('announces the reclaim of a runner, and then stops it', async () => {
    const id = await createFleet();
    await complete('aw-boot', id);
    expect(await see(id, 'spot/instance-action')).toBeUndefined();
    const noticedAt = Date.now();
    autoScaling.reclaim(id);
    const notice: unknown = JSON.parse((await see(id, 'spot/instance-action')) ?? 'null');
    expect(notice).toMatchObject({ action: 'terminate' });
    await waitFor('the instance to be taken', () => terminated.includes(id), patience);
    expect(Date.now() - noticedAt).toBeGreaterThanOrEqual((0.95 * 120_000) / TIME_SCALE.autoScaling);
    expect(await see(id, 'instance-id')).toBeUndefined();
  });
});

/** Paths of all fields; what stands below `dimensions` are names that people chose. */
function fields(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'dimensions' ? [`${path}.${name}`] : fields(inner, `${path}.${name}`),
  );
}

async function sample(name: string) {
  const text = await readFile(new URL(`../fixtures/events/${name}.json`, import.meta.url), 'utf8');
  return JSON.parse(text) as { source: string; 'detail-type': string; resources: string[]; detail: unknown };
}

/** Holds an event against a sample: the same source, resources of the same form, and every field of the sample. */
async function expectShape(name: string, choose: (event: OutgoingEvent) => boolean = () => true) {
  const expected = await sample(name);
  const event = events.find((each) => each.detailType === expected['detail-type'] && choose(each));
  expect(event, `no event like ${name}`).toBeDefined();
  expect(event?.source).toBe(expected.source);
  expect(fields(event?.detail)).toEqual(expect.arrayContaining(fields(expected.detail)));
  const form = (arn: string) => arn.replace(/i-[0-9a-f]+|[-0-9a-f]{36}|[^:/]+$/g, '*');
  expect(event?.resources.map(form).map((arn) => arn.replace(/us-west-2[a-z]/, 'zone'))).toEqual(
    expected.resources.map(form).map((arn) => arn.replace(/us-west-2[a-z]/, 'zone')),
  );
}

describe('events', () => {
  it('of Auto Scaling and EC2 match the samples', async () => {
    const id = await createFleet();
    await complete('aw-boot', id);
    autoScaling.recommendRebalance(id);
    autoScaling.reclaim(id);
    hasCapacity = false;
    await scaling.send(
      new TerminateInstanceInAutoScalingGroupCommand({
        InstanceId: id,
        ShouldDecrementDesiredCapacity: false,
      }),
    );
    await complete('aw-drain', id);
    await autoScaling.settled();
    await expectShape('autoscaling-launch-lifecycle-action-ec2-to-asg');
    await expectShape('autoscaling-terminate-lifecycle-action-asg-to-ec2');
    await expectShape('autoscaling-launch-successful-with-origin-destination');
    await expectShape('autoscaling-launch-unsuccessful-insufficient-capacity');
    await expectShape('autoscaling-terminate-successful');
    await expectShape('ec2-spot-interruption-warning-terminate');
    await expectShape('ec2-rebalance-recommendation');
  });

  it('of alarms match the samples', async () => {
    const alarm: PutMetricAlarmCommandInput = {
      AlarmName: 'aw-gha-default-bootstrap-failures',
      AlarmDescription: 'Runner bootstrap failures',
      Namespace: 'Hearth',
      MetricName: 'LaunchFailures',
      Dimensions: [{ Name: 'Group', Value: 'gha/default' }],
      Statistic: 'Sum',
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
    };
    await watching.send(new PutMetricAlarmCommand(alarm));
    await watching.send(new PutMetricAlarmCommand({ ...alarm, Threshold: 2 }));
    const state = (value: string) => (event: OutgoingEvent) =>
      Object(event.detail.state).value === value &&
      Object(event.detail.previousState).value !== 'INSUFFICIENT_DATA';
    const becomes = (value: string) => () => cloudWatch.alarms()[0]?.state.value === value;
    await waitFor('the alarm to be quiet', becomes('OK'), patience);
    const MetricData = [{ MetricName: 'LaunchFailures', Dimensions: alarm.Dimensions, Value: 3 }];
    // Again and again: the period of one sample can be over before the alarm is evaluated.
    await waitFor(
      'the alarm to sound',
      async () => {
        await watching.send(new PutMetricDataCommand({ Namespace: 'Hearth', MetricData }));
        return events.some(state('ALARM'));
      },
      patience,
    );
    await waitFor('the alarm to be quiet again', () => events.some(state('OK')), patience);
    await watching.send(new DeleteAlarmsCommand({ AlarmNames: ['aw-gha-default-bootstrap-failures'] }));
    await cloudWatch.settled();
    const operation = (name: string) => (event: OutgoingEvent) => event.detail.operation === name;
    await expectShape('cloudwatch-alarm-state-change-metric-ok-to-alarm', state('ALARM'));
    await expectShape('cloudwatch-alarm-state-change-metric-alarm-to-ok', state('OK'));
    await expectShape('cloudwatch-alarm-configuration-change-create', operation('create'));
    await expectShape('cloudwatch-alarm-configuration-change-update', operation('update'));
    await expectShape('cloudwatch-alarm-configuration-change-delete', operation('delete'));
  });
});
