import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { SendMessageBatchCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { messagesIn } from '../../scripts/local/queue-depth.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { readFunctionSpecs } from '../../shared/runtime/function-spec.ts';

/** One instance floods the queue of reports, with the built function. Another one boots meanwhile. */
let cloud: Cloud;

const root = resolve(import.meta.dirname, '../..');
const GROUP = 'aw-gha-default';
const patience = { seconds: 900 };

/** Messages of the flood. MiniStack is slower than SQS, so the test takes as long as these need. */
const MESSAGES = 2_000;

beforeAll(async () => {
  cloud = await startCloud({
    root,
    functions: ['lifecycle'],
    instances: 'none',
    groups: [
      {
        provider: 'gha',
        name: 'default',
        min: 0,
        max: 2,
        // The flood must not outlast the hooks on a slow computer.
        heartbeatTimeout: { boot: 3_600, drain: 3_600 },
      },
    ],
  });
});
afterAll(() => cloud?.stop());

const body = (instanceId: string, change: object) =>
  JSON.stringify({
    group: 'gha/default',
    instanceId,
    autoScalingGroup: GROUP,
    at: new Date().toISOString(),
    ...change,
  });

function clientOf(instanceId: string) {
  const key = cloud.gateway.callers.issue({ name: instanceId, role: GROUP, session: instanceId });
  return createClients(cloud.url, 'us-west-2', key).sqs;
}

test('a flood of one instance costs bounded calls and dead letters, and no other instance its hook', {
  timeout: 2_400_000,
}, async () => {
  const { autoScaling } = cloud.clients;
  await autoScaling.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: GROUP, DesiredCapacity: 2 }));
  await cloud.autoScaling.settled();
  const [victim = '', attacker = ''] = cloud.autoScaling.groups()[0]?.instances.map(({ id }) => id) ?? [];
  expect(attacker).not.toBe('');
  const QueueUrl = cloud.queues.url('aw-reports');
  const heartbeat = body(attacker, { report: 'Runner Heartbeat', phase: 'boot' });
  const forged = body(victim, { report: 'Runner Drained' });
  const flood = clientOf(attacker);

  // Larger than any report: the queue itself refuses it.
  await expect(
    flood.send(new SendMessageCommand({ QueueUrl, MessageBody: 'x'.repeat(8_193) })),
  ).rejects.toThrow();

  const batches = Array.from({ length: MESSAGES / 10 }, (_, batch) =>
    Array.from({ length: 10 }, (_, index) => ({
      Id: `m${index}`,
      MessageBody: [heartbeat, heartbeat, forged, '{'.repeat(8_000)][(batch + index) % 4] ?? '',
    })),
  );
  const before = cloud.gateway.calls.all.length;
  const began = performance.now();
  let honest: Promise<unknown> = Promise.resolve();
  for (const [index, Entries] of batches.entries()) {
    await flood.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
    if (index === batches.length / 2) {
      const MessageBody = body(victim, {
        report: 'Runner Ready',
        snapshot: { set: 'default', outcome: 'none' },
        seconds: { restore: 0, boot: 1 },
      });
      honest = clientOf(victim).send(
        new SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId: victim }),
      );
    }
  }
  await honest;
  await waitFor(
    'the hook of the other instance',
    () => cloud.endedActions.all.find(({ instanceId }) => instanceId === victim),
    patience,
  );
  await waitFor('the end of the flood', async () => (await messagesIn(cloud, 'aw-reports')) === 0, patience);
  const seconds = (performance.now() - began) / 1000;
  expect(cloud.endedActions.all).toMatchObject([{ instanceId: victim, result: 'CONTINUE' }]);

  const calls = cloud.gateway.calls.all.slice(before).filter(({ caller }) => caller.startsWith('lifecycle'));
  const count = (operation: string) => calls.filter((one) => one.operation === operation).length;
  const concurrency =
    (await readFunctionSpecs(root)).find(({ name }) => name === 'lifecycle')?.concurrency ?? 0;
  // Per execution environment and ten seconds, for as long as the flood lasts.
  const heartbeats = count('RecordLifecycleActionHeartbeat');
  expect(heartbeats).toBeGreaterThan(0);
  expect(heartbeats).toBeLessThan(Math.max(MESSAGES / 10, concurrency * (seconds / 10 + 1)));
  expect(await messagesIn(cloud, 'aw-lifecycle-dead')).toBeLessThanOrEqual(
    (3 + Math.floor(seconds / 600)) * concurrency + 10,
  );
});
