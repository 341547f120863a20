import { resolve } from 'node:path';
import {
  DeleteAutoScalingGroupCommand,
  SetDesiredCapacityCommand,
  UpdateAutoScalingGroupCommand,
} from '@aws-sdk/client-auto-scaling';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GroupRecord } from '../../functions/lifecycle/group-record.ts';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import type { Sweep } from '../../shared/fleet/registration-record.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

/**
 * Instances that are to be replaced, with the built functions. Time passes by dating records back: the functions read ages from
 * there. The simulation plays whole days.
 */
let cloud: Cloud;

const GROUP = 'aw-bk-default';
const SIZE = 3;
const patience = { seconds: PATIENCE_SECONDS };

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    instances: 'none',
    groups: [
      {
        provider: 'bk',
        name: 'default',
        min: 0,
        max: 2 * SIZE,
        maxInstanceLifetimeSeconds: 86_400,
        replaceOutdated: true,
        // No instance sends heartbeats.
        heartbeatTimeout: { boot: 3_600, drain: 3_600 },
      },
    ],
  });
  const size = { AutoScalingGroupName: GROUP, DesiredCapacity: SIZE };
  await cloud.clients.autoScaling.send(new SetDesiredCapacityCommand(size));
  await bootAll();
});
afterAll(() => cloud?.stop());

const instances = () => cloud.autoScaling.groups().find(({ name }) => name === GROUP)?.instances ?? [];
const inService = () =>
  instances()
    .filter(({ state }) => state === 'InService')
    .map(({ id }) => id);

async function report(instanceId: string, change: object): Promise<void> {
  const key = cloud.gateway.callers.issue({ name: instanceId, role: GROUP, session: instanceId });
  const { sqs } = createClients(cloud.url, 'us-west-2', key);
  const at = new Date().toISOString();
  const MessageBody = JSON.stringify({
    group: 'bk/default',
    autoScalingGroup: GROUP,
    instanceId,
    at,
    ...change,
  });
  const QueueUrl = cloud.queues.url('aw-reports');
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId: instanceId }));
}

/** Instances that launch report Ready, and get a record as if they had a registration. */
async function bootAll(): Promise<void> {
  const booted = new Set<string>();
  await waitFor(
    'all instances in service',
    async () => {
      for (const { id, state } of instances()) {
        if (state !== 'Pending:Wait' || booted.has(id)) continue;
        booted.add(id);
        await write(`registrations/${id}.json`, { version: 1, n: 1, at: new Date().toISOString() });
        const snapshot = { set: 'default', outcome: 'none' };
        await report(id, { report: 'Runner Ready', snapshot, seconds: { restore: 0, boot: 1 } });
      }
      return inService().length === SIZE;
    },
    patience,
  );
}

async function read<T>(Key: string): Promise<T> {
  const { Body } = await cloud.clients.s3.send(
    new GetObjectCommand({ Bucket: cloud.deployment.bucket, Key }),
  );
  return JSON.parse((await Body?.transformToString()) ?? '') as T;
}

async function write(Key: string, value: unknown): Promise<void> {
  const Body = JSON.stringify(value);
  await cloud.clients.s3.send(new PutObjectCommand({ Bucket: cloud.deployment.bucket, Key, Body }));
}

/**
 * Fires a schedule and waits for the outcome of its message.
 *
 * @param finding a detail that only this outcome has: events of Auto Scaling go to the same inbox
 */
async function run(name: string, functionName: string, finding: string) {
  const outcomes = () => cloud.gateway.functions.outcomes.all;
  const before = outcomes().length;
  await fireSchedule(cloud.clients.scheduler, cloud.schedules, name);
  const inbox = cloud.queues.inbox(functionName);
  await waitFor(
    `the outcome of ${name}`,
    () =>
      outcomes()
        .slice(before)
        .some(
          ({ queue, outcome, detail }) =>
            queue === inbox && outcome === 'done' && detail !== undefined && finding in detail,
        ),
    { ...patience, state: () => outcomes().slice(before) },
  );
}
const reconcile = () => run('aw-lifecycle-reconcile', 'lifecycle', 'held');
const sweep = () => run('aw-registration-sweep', 'registration', 'kept');

/** The instance that drains; its job ends, and its replacement boots. */
async function drainOne(): Promise<string> {
  const draining = instances().filter(({ state }) => state.startsWith('Terminating'));
  expect(draining).toHaveLength(1);
  const id = draining[0]?.id ?? '';
  await waitFor(
    `the wait of ${id}`,
    () => instances().some((one) => one.id === id && one.state === 'Terminating:Wait'),
    patience,
  );
  await report(id, { report: 'Runner Drained' });
  await waitFor(`the end of ${id}`, () => !instances().some((one) => one.id === id), patience);
  await bootAll();
  return id;
}

const replaced = () =>
  cloud.cloudWatch.samples
    .metrics()
    .filter(({ name }) => name === 'RunnersReplaced')
    .map(({ dimensions }) => dimensions.Cause)
    .sort();

test('a sound group stays as it is', async () => {
  const before = inService();
  await sweep();
  await reconcile();
  expect(inService()).toEqual(before);
  expect(replaced()).toEqual([]);
});

test('an instance that no provider knows drains and is replaced', async () => {
  const [silent = ''] = inService();
  const Key = `registrations/${silent}.json`;
  await cloud.clients.s3.send(new DeleteObjectCommand({ Bucket: cloud.deployment.bucket, Key }));
  await sweep();
  const found = await read<Sweep>('registrations/sweep.json');
  expect(found.silent).toEqual([silent]);
  await reconcile();
  expect(inService()).toHaveLength(SIZE);
  const since = new Date(Date.now() - 900_000).toISOString();
  await write('registrations/sweep.json', { ...found, withoutAgent: { [silent]: since } });
  await reconcile();
  expect(await drainOne()).toBe(silent);
  expect(replaced()).toEqual(['no-agent']);
});

test('instances beyond their lifetime are replaced one after the other', async () => {
  const old = inService();
  await reconcile();
  const record = await read<GroupRecord>('lifecycle/bk/default.json');
  const longAgo = new Date(Date.now() - 2 * 86_400_000).toISOString();
  const seen = Object.fromEntries(old.map((id) => [id, longAgo]));
  await write('lifecycle/bk/default.json', { ...record, seen });
  const gone: string[] = [];
  for (let left = SIZE; left > 0; left -= 1) {
    await reconcile();
    // The one that drains has room for no other one.
    await reconcile();
    gone.push(await drainOne());
  }
  expect(gone.toSorted()).toEqual(old.toSorted());
  expect(replaced()).toEqual(['lifetime', 'no-agent']);
});

test('instances of an older version of the launch template are replaced', async () => {
  const LaunchTemplateSpecification = { LaunchTemplateName: GROUP, Version: '2' };
  await cloud.clients.autoScaling.send(
    new UpdateAutoScalingGroupCommand({
      AutoScalingGroupName: GROUP,
      MixedInstancesPolicy: { LaunchTemplate: { LaunchTemplateSpecification } },
    }),
  );
  const before = inService();
  await reconcile();
  expect(before).toContain(await drainOne());
  expect(replaced()).toEqual(['lifetime', 'no-agent', 'outdated']);
});

test('a group with the maximum 0 drains, and can be removed when its jobs have ended', async () => {
  const limits = { AutoScalingGroupName: GROUP, MinSize: 0, MaxSize: 0 };
  await cloud.clients.autoScaling.send(new UpdateAutoScalingGroupCommand(limits));
  const draining = () => instances().filter(({ state }) => state === 'Terminating:Wait');
  await waitFor('all instances wait for their jobs', () => draining().length === SIZE, patience);
  const removal = new DeleteAutoScalingGroupCommand({ AutoScalingGroupName: GROUP });
  await expect(cloud.clients.autoScaling.send(removal)).rejects.toThrow(/instances/);
  await reconcile();
  expect(draining()).toHaveLength(SIZE);
  for (const { id } of draining()) await report(id, { report: 'Runner Drained' });
  await waitFor('no instance', () => instances().length === 0, patience);
  await cloud.clients.autoScaling.send(removal);
  expect(cloud.autoScaling.groups().map(({ name }) => name)).not.toContain(GROUP);
});
