import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import { PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { GetParameterCommand, PutParameterCommand } from '@aws-sdk/client-ssm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { ROUTING_SECRET } from '../../scripts/local/deploy/settings.ts';
import { messagesIn } from '../../scripts/local/queue-depth.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

/** What the local cloud adds to the emulator, from one end to the other. */
let cloud: Cloud;
const patience = { seconds: PATIENCE_SECONDS };

const DEPLOYMENT = '/aw/deployment';

/** More runner groups than have an incident each for alarms of one kind. */
const GROUPS = Array.from({ length: 11 }, (_, n) => `g${n}`);

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'alarms', 'parameters'],
    instances: 'none',
    groups: [
      // Nothing completes the hook of one of its instances.
      {
        provider: 'gha',
        name: 'default',
        min: 0,
        max: 2,
        heartbeatTimeout: { boot: 3_600, drain: 3_600 },
      },
    ],
    replicaRegions: ['eu-west-1'],
    alarms: [
      {
        name: 'lifecycle-dead-letters',
        namespace: 'AWS/SQS',
        metric: 'ApproximateNumberOfMessagesVisible',
        dimensions: { QueueName: 'aw-lifecycle-dead' },
        statistic: 'Maximum',
        comparison: 'GreaterThanThreshold',
        threshold: 0,
        period: 60,
      },
      ...GROUPS.map((group) => ({
        name: `old-jobs-gha-${group}`,
        namespace: 'Hearth',
        metric: 'OldestJobSeconds',
        dimensions: { Group: `gha/${group}`, Deployment: 'aw' },
        statistic: 'Minimum' as const,
        comparison: 'GreaterThanThreshold' as const,
        threshold: 1_800,
        period: 3_600,
      })),
    ],
  });
  await cloud.clients.secrets.send(
    new PutSecretValueCommand({
      SecretId: ROUTING_SECRET,
      SecretString: JSON.stringify(cloud.routingKeys),
    }),
  );
});
afterAll(() => cloud?.stop());

async function parameter(name: string, region = 'us-west-2'): Promise<string | undefined> {
  try {
    const { Parameter } = await cloud.clients.ssmOf(region).send(new GetParameterCommand({ Name: name }));
    return Parameter?.Value;
  } catch (error) {
    if (error instanceof Error && error.name === 'ParameterNotFound') return undefined;
    throw error;
  }
}

async function sendReport(by: string, about: string): Promise<string | undefined> {
  const key = cloud.gateway.callers.issue({ name: by, role: 'aw-gha-default', session: by });
  const { sqs } = createClients(cloud.url, 'us-west-2', key);
  const report = {
    report: 'Runner Ready',
    group: 'gha/default',
    instanceId: about,
    autoScalingGroup: 'aw-gha-default',
    at: new Date().toISOString(),
    snapshot: { set: 'default', outcome: 'cold' },
    seconds: { restore: 1, boot: 2 },
  };
  const { MessageId } = await sqs.send(
    new SendMessageCommand({
      QueueUrl: cloud.queues.url('aw-reports'),
      MessageBody: JSON.stringify(report),
    }),
  );
  return MessageId;
}

function outcomeOf(messageId: string | undefined) {
  return waitFor(
    `the outcome of ${messageId}`,
    () => cloud.gateway.functions.outcomes.all.find((outcome) => outcome.messageId === messageId),
    patience,
  );
}

test('what is declared is in the tree, here and in the replica region; a hand edit is repaired', async () => {
  const declared = await waitFor('the declared parameter', () => parameter(DEPLOYMENT), patience);
  await waitFor('its replica', async () => (await parameter(DEPLOYMENT, 'eu-west-1')) === declared, patience);
  await cloud.clients.ssm.send(
    new PutParameterCommand({ Name: DEPLOYMENT, Value: 'edited', Overwrite: true }),
  );
  await waitFor('the repair', async () => (await parameter(DEPLOYMENT)) === declared, patience);
});

test('SQS stamps the sender of a report: only the instance itself completes its hook', async () => {
  const { autoScaling } = cloud.clients;
  const AutoScalingGroupName = 'aw-gha-default';
  await autoScaling.send(new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity: 2 }));
  await cloud.autoScaling.settled();
  const [victim, thief] = cloud.autoScaling.groups()[0]?.instances.map(({ id }) => id) ?? [];
  if (!victim || !thief) throw new Error('no instances were launched');

  expect(await outcomeOf(await sendReport(thief, victim))).toMatchObject({ outcome: 'dead' });
  expect(await outcomeOf(await sendReport(victim, victim))).toMatchObject({ outcome: 'done' });
  expect(cloud.endedActions.all).toEqual([
    { instanceId: victim, hook: 'aw-boot', result: 'CONTINUE', cause: 'completed' },
  ]);
});

test('a message in a dead-letter queue raises an alarm, and the alarm an incident', async () => {
  const sent = await cloud.clients.sqs.send(
    new SendMessageCommand({
      QueueUrl: cloud.queues.url(cloud.queues.inbox('lifecycle')),
      MessageBody: '{poison',
    }),
  );
  expect(await outcomeOf(sent.MessageId)).toMatchObject({ outcome: 'dead', reason: 'malformed-json' });
  expect(await messagesIn(cloud, cloud.queues.dead('lifecycle'))).toBeGreaterThan(0);
  const incident = await waitFor(
    'an incident',
    () => cloud.pagerDuty.incidents().find(({ summary }) => summary.includes('lifecycle-dead-letters')),
    { ...patience, state: () => cloud.pagerDuty.calls() },
  );
  expect(incident.status).toBe('triggered');
});

test('an alarm of each of many groups raises some incidents and a common one, and all are resolved', {
  timeout: 1_800_000,
}, async () => {
  const measure = (Value: number) =>
    cloud.clients.cloudWatch.send(
      new PutMetricDataCommand({
        Namespace: 'Hearth',
        MetricData: GROUPS.map((group) => ({
          MetricName: 'OldestJobSeconds',
          Dimensions: [
            { Name: 'Group', Value: `gha/${group}` },
            { Name: 'Deployment', Value: 'aw' },
          ],
          Value,
        })),
      }),
    );
  const incidents = () => cloud.pagerDuty.incidents().filter(({ dedupKey }) => dedupKey.includes('old-jobs'));
  const state = () => incidents().map(({ dedupKey, status }) => [dedupKey, status]);
  await measure(2_000);
  const common = await waitFor(
    'the common incident',
    () => incidents().find(({ dedupKey }) => dedupKey.endsWith(':aw-old-jobs-*')),
    { ...patience, state },
  );
  expect(common.summary).toMatch(/^At least \d+ alarms aw-old-jobs-\* are in ALARM/);
  expect(incidents().length).toBeLessThanOrEqual(11);
  // The minimum of the period counts.
  await measure(0);
  await waitFor('the end of all', () => incidents().every(({ status }) => status === 'resolved'), {
    seconds: 2 * PATIENCE_SECONDS,
    state,
  });
});

test('a schedule that fires puts its input into the inbox, with id and time filled in', async () => {
  // Events about the parameters of the tests before are handled by then.
  await waitFor(
    'an empty inbox',
    async () => (await messagesIn(cloud, cloud.queues.inbox('parameters'))) === 0,
    patience,
  );
  const before = cloud.gateway.functions.outcomes.all.length;
  await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-parameters-reconcile');
  const outcome = await waitFor(
    'the outcome of the schedule',
    () => cloud.gateway.functions.outcomes.all.slice(before).find((one) => one.function === 'parameters'),
    patience,
  );
  expect(outcome.outcome).toBe('done');
});
