import { resolve } from 'node:path';
import { DescribeAutoScalingGroupsCommand, SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { GetParameterCommand } from '@aws-sdk/client-ssm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { deploy } from '../../scripts/local/deploy/deploy.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { lambdaName } from '../../scripts/local/deploy/names.ts';
import { type AlarmSettings, type Deployment, ROUTING_SECRET } from '../../scripts/local/deploy/settings.ts';
import type { MadeSchedule } from '../../scripts/local/deploy/subscriptions.ts';
import { messagesIn } from '../../scripts/local/queue-depth.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import type { Report } from '../../shared/fleet/report.ts';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

/**
 * Two deployments with groups, sets and alarms of the same names, in one account and region, as the local cloud has them: with one
 * bus of AWS, one Auto Scaling, one CloudWatch and one PagerDuty. IAM and policies of queues and buses are not evaluated here; the tests
 * of the Terraform module show them.
 */
let cloud: Cloud;
let second: { deployment: Deployment; schedules: readonly MadeSchedule[] };

const root = resolve(import.meta.dirname, '../..');
const patience = { seconds: PATIENCE_SECONDS };
const FUNCTIONS = ['lifecycle', 'warming', 'alarms', 'parameters'];
const GROUPS = [
  { provider: 'gha', name: 'default', min: 0, max: 2, warmingSet: 'default' },
  {
    provider: 'gha',
    name: 'warming',
    min: 0,
    max: 1,
    warmingSet: 'default',
    runner: { warming: { command: ['true'] } },
  },
] as const;
const SETS = { default: { group: 'gha/warming', schedule: 'rate(1 day)', deadlineMinutes: 60, keep: 3 } };
const alarm = (Deployment: string): AlarmSettings => ({
  name: 'launch-failures-gha-default',
  namespace: 'Hearth',
  metric: 'LaunchFailures',
  dimensions: { Deployment, Group: 'gha/default' },
  statistic: 'Sum',
  comparison: 'GreaterThanThreshold',
  threshold: 0,
  period: 300,
});

beforeAll(async () => {
  // A recording of calls is of one deployment.
  vi.stubEnv('HEARTH_CALLS', undefined);
  cloud = await startCloud({
    root,
    functions: FUNCTIONS,
    instances: 'none',
    groups: GROUPS,
    warmingSets: SETS,
    alarms: [alarm('aw')],
  });
  await cloud.clients.secrets.send(
    new PutSecretValueCommand({ SecretId: ROUTING_SECRET, SecretString: JSON.stringify(cloud.routingKeys) }),
  );
  const deployment: Deployment = {
    ...cloud.deployment,
    prefix: 'ci',
    bucket: 'ci-warming-local',
    alarms: [alarm('ci')],
  };
  const specs = (await readFunctionSpecs(root)).filter(({ name }) => FUNCTIONS.includes(name));
  const to = { root, gatewayUrl: cloud.url, functionUrls: cloud.functionUrls };
  second = { deployment, ...(await deploy(cloud.clients, specs, deployment, to)) };
});
afterAll(() => cloud?.stop());

const sizes = async () => {
  const { AutoScalingGroups = [] } = await cloud.clients.autoScaling.send(
    new DescribeAutoScalingGroupsCommand({}),
  );
  return Object.fromEntries(AutoScalingGroups.map((one) => [one.AutoScalingGroupName, one.DesiredCapacity]));
};

async function runOf(bucket: string): Promise<{ state?: string; reason?: string }> {
  try {
    const Key = 'sets/default/run.json';
    const { Body } = await cloud.clients.s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
    return JSON.parse((await Body?.transformToString()) ?? '{}');
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchKey') return {};
    throw error;
  }
}

/** The instance of a group, once it launches. */
async function instanceOf(group: string): Promise<string> {
  return waitFor(
    `an instance of ${group}`,
    () => cloud.autoScaling.groups().find(({ name }) => name === group)?.instances[0]?.id,
    patience,
  );
}

/** Sends a report as an instance of the group does, to the queue of a deployment. */
async function report(prefix: string, group: string, instanceId: string, body: object, queue = prefix) {
  const autoScalingGroup = `${prefix}-${group.replace('/', '-')}`;
  const key = cloud.gateway.callers.issue({ name: instanceId, role: autoScalingGroup, session: instanceId });
  const { sqs } = createClients(cloud.url, 'us-west-2', key);
  const at = new Date().toISOString();
  const report = { group, instanceId, autoScalingGroup, at, ...body } as Report;
  const QueueUrl = cloud.queues.url(`${queue}-reports`);
  const { MessageId } = await sqs.send(
    new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(report), MessageGroupId: instanceId }),
  );
  return waitFor(
    `the outcome of ${MessageId}`,
    () =>
      cloud.gateway.functions.outcomes.all.find(
        ({ messageId, outcome }) => messageId === MessageId && outcome !== 'retry',
      ),
    {
      ...patience,
      state: () => cloud.gateway.functions.outcomes.all.filter((one) => one.messageId === MessageId),
    },
  );
}

test('each has its own tree of parameters, and repairs no other', async () => {
  for (const prefix of ['aw', 'ci']) {
    const Name = `/${prefix}/groups/gha/default`;
    await waitFor(
      Name,
      () =>
        cloud.clients.ssm.send(new GetParameterCommand({ Name })).then(
          () => true,
          () => false,
        ),
      patience,
    );
  }
});

describe('while both make a snapshot', () => {
  beforeAll(async () => {
    await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-warming-run-default');
    await fireSchedule(cloud.clients.scheduler, second.schedules, 'ci-warming-run-default');
    for (const bucket of [cloud.deployment.bucket, second.deployment.bucket]) {
      await waitFor(`a run in ${bucket}`, async () => (await runOf(bucket)).state === 'running', patience);
    }
    await waitFor(
      'both capacities',
      async () => {
        const { 'aw-gha-warming': aw, 'ci-gha-warming': ci } = await sizes();
        return aw === 1 && ci === 1;
      },
      patience,
    );
  });

  test('an event that anybody puts on the bus of the account ends no run', async () => {
    const detail = {
      report: 'Runner Unhealthy',
      group: 'gha/warming',
      instanceId: 'i-0123456789abcdef0',
      autoScalingGroup: 'aw-gha-warming',
      at: new Date().toISOString(),
      reason: 'warming run failed: forged',
    };
    const entry = { Source: 'aw.lifecycle', DetailType: 'Runner Unhealthy', Detail: JSON.stringify(detail) };
    await cloud.clients.events.send(new PutEventsCommand({ Entries: [entry] }));
    // What the inbox of warming gets after it has been handled, and nothing else.
    const handled = () =>
      cloud.gateway.functions.outcomes.all.filter((one) => one.queue === 'aw-warming-inbox').length;
    const before = handled();
    await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-warming-check-default');
    await waitFor('the check', () => handled() > before, patience);
    expect(await runOf(cloud.deployment.bucket)).toMatchObject({ state: 'running' });
  });

  test('a failure of one ends its own run, and leaves the run and the capacity of the other', async () => {
    const instanceId = await instanceOf('ci-gha-warming');
    const body = { report: 'Runner Unhealthy', reason: 'warming run failed: exit 1' };
    expect(await report('ci', 'gha/warming', instanceId, body)).toMatchObject({ outcome: 'done' });
    const { bucket } = second.deployment;
    await waitFor('the end of the run', async () => (await runOf(bucket)).state === 'failed', patience);
    expect(await runOf(cloud.deployment.bucket)).toMatchObject({ state: 'running' });
    await waitFor('the end of its capacity', async () => (await sizes())['ci-gha-warming'] === 0, patience);
    expect(await sizes()).toMatchObject({ 'aw-gha-warming': 1 });
  });
});

test('an instance of one does not report in the queue of the other', async () => {
  const body = { report: 'Runner Drained' };
  const outcome = await report('ci', 'gha/default', 'i-0123456789abcdef0', body, 'aw');
  expect(outcome).toMatchObject({ outcome: 'dead', reason: 'forged-group', queue: 'aw-reports' });
});

test('a failed launch counts for its own deployment, starts its own alarm, and pages once', async () => {
  const AutoScalingGroupName = 'ci-gha-default';
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity: 1 }),
  );
  const instanceId = await instanceOf(AutoScalingGroupName);
  const body = { report: 'Runner Failed', stage: 'agent', reason: 'none' };
  expect(await report('ci', 'gha/default', instanceId, body)).toMatchObject({ outcome: 'done' });
  const incident = await waitFor(
    'an incident',
    () => cloud.pagerDuty.incidents().find(({ summary }) => summary.includes('launch-failures')),
    { ...patience, state: () => cloud.pagerDuty.calls() },
  );
  expect(JSON.stringify(incident)).toContain('ci-launch-failures-gha-default');
  const deployments = cloud.cloudWatch.samples
    .metrics()
    .filter(({ name }) => name === 'LaunchFailures')
    .map(({ dimensions }) => dimensions.Deployment);
  expect(deployments).toEqual(['ci']);
  expect(cloud.pagerDuty.incidents()).toHaveLength(1);
  const states = () =>
    cloud.cloudWatch.alarms().map(({ settings, state }) => [settings.AlarmName, state.value] as const);
  await waitFor(
    'the alarm of the other deployment',
    () => states().some(([name, value]) => name === 'aw-launch-failures-gha-default' && value === 'OK'),
    { ...patience, state: states },
  );
});

test('no function had a message of the other deployment', async () => {
  const foreign = cloud.gateway.functions.outcomes.all.filter(({ reason }) =>
    /^foreign|^unknown/.test(reason ?? ''),
  );
  // Both subscribe to Spot notices and to alarms by their prefix.
  expect(foreign.map(({ reason }) => reason)).toEqual([]);
  for (const prefix of ['aw', 'ci']) {
    for (const name of FUNCTIONS) {
      const expected = prefix === 'aw' && name === 'lifecycle' ? 1 : 0;
      expect(await messagesIn(cloud, `${prefix}-${name}-dead`), lambdaName(prefix, name)).toBe(expected);
    }
  }
});
