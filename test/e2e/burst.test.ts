import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { THROTTLED } from '../../scripts/local/gateway/faults.ts';
import { messagesIn } from '../../scripts/local/queue-depth.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import type { Report } from '../../shared/fleet/report.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

/** 500 launches and 500 terminations: 1,000 lifecycle events. */
const INSTANCES = 500;

let cloud: Cloud;
let delivered = 0;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle'],
    instances: 'none',
    groups: [
      {
        provider: 'gha',
        name: 'default',
        min: 0,
        max: INSTANCES,
        // The instances send no heartbeats.
        heartbeatTimeout: { boot: 3_600, drain: 3_600 },
      },
    ],
    // Every tenth event comes twice: EventBridge delivers at least once.
    deliveries() {
      delivered += 1;
      return delivered % 10 === 0 ? 2 : 1;
    },
  });
});
afterAll(() => cloud?.stop());

test('1,000 lifecycle events, some twice and some throttled: each hook is completed exactly once', {
  timeout: 2_400_000,
}, async () => {
  const stopThrottling = cloud.gateway.faults.add({
    service: 'autoscaling',
    caller: 'lifecycle',
    every: 20,
    effect: { kind: 'error', error: THROTTLED.autoscaling },
  });

  await setDesired(INSTANCES);
  const ids = cloud.autoScaling.groups().flatMap((group) => group.instances.map(({ id }) => id));
  expect(ids).toHaveLength(INSTANCES);
  await report(ids, (id) => ({
    ...sender(id),
    report: 'Runner Ready',
    snapshot: { set: 'default', outcome: 'cold' },
    seconds: { restore: 1, boot: 2 },
  }));
  await waitFor('all instances in service', () => statesOf().every((state) => state === 'InService'), {
    seconds: 2 * PATIENCE_SECONDS,
    state: () => countOf(statesOf()),
  });

  await setDesired(0);
  await report(ids, (id) => ({ ...sender(id), report: 'Runner Drained' }));
  await waitFor('all instances gone', () => statesOf().length === 0, {
    seconds: 2 * PATIENCE_SECONDS,
    state: () => countOf(statesOf()),
  });
  await waitFor('empty inboxes', async () => (await depth('aw-lifecycle-inbox', 'aw-reports')) === 0, {
    seconds: 2 * PATIENCE_SECONDS,
  });

  // Events are published in the background, after the reports of the instances.
  await cloud.autoScaling.settled();

  const completed = cloud.endedActions.all.map(({ instanceId, hook, result, cause }) =>
    [instanceId, hook, result, cause].join(' '),
  );
  const expected = ids.flatMap((id) => [
    `${id} aw-boot CONTINUE completed`,
    `${id} aw-drain CONTINUE completed`,
  ]);
  expect(completed.sort()).toEqual(expected.sort());

  const calls = cloud.gateway.calls.all.filter((call) => call.operation === 'CompleteLifecycleAction');
  expect(calls.length).toBeGreaterThan(2 * INSTANCES);
  expect(stopThrottling()).toBeGreaterThanOrEqual(2 * INSTANCES * 0.05);
  expect(delivered).toBeGreaterThanOrEqual(4 * INSTANCES);
  expect(await depth('aw-lifecycle-dead')).toBe(0);
  expect(cloud.gateway.functions.outcomes.all.filter(({ outcome }) => outcome === 'dead')).toEqual([]);
});

function statesOf(): string[] {
  return cloud.autoScaling.groups().flatMap((group) => group.instances.map(({ state }) => state));
}

function countOf(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

async function setDesired(DesiredCapacity: number): Promise<void> {
  const AutoScalingGroupName = 'aw-gha-default';
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity }),
  );
  await cloud.autoScaling.settled();
}

function sender(instanceId: string) {
  return {
    group: 'gha/default',
    instanceId,
    autoScalingGroup: 'aw-gha-default',
    at: new Date().toISOString(),
  };
}

/** Every instance reports with its own key; every tenth report comes twice. */
async function report(ids: readonly string[], make: (id: string) => Report): Promise<void> {
  await Promise.all(
    ids.map(async (id, index) => {
      const key = cloud.gateway.callers.issue({ name: id, role: 'aw-gha-default', session: id });
      const { sqs } = createClients(cloud.url, cloud.deployment.home.region, key);
      const command = { QueueUrl: cloud.queues.url('aw-reports'), MessageBody: JSON.stringify(make(id)) };
      await sqs.send(new SendMessageCommand(command));
      if (index % 10 === 0) await sqs.send(new SendMessageCommand(command));
      sqs.destroy();
    }),
  );
}

async function depth(...queues: string[]): Promise<number> {
  const counts = await Promise.all(queues.map((name) => messagesIn(cloud, name)));
  return counts.reduce((sum, count) => sum + count, 0);
}
