import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startedFor } from '../../scripts/local/cleanup/clean.ts';
import { mountsBelow } from '../../scripts/local/cleanup/system.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';

let cloud: Cloud;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle'],
    groups: [{ provider: 'gha', name: 'default', min: 0, max: 3, warmingSet: 'default', purchase: 'spot' }],
  });
});
afterAll(() => cloud?.stop());

function instances() {
  return cloud.autoScaling.groups().flatMap((group) => group.instances);
}

async function setDesired(DesiredCapacity: number): Promise<void> {
  const AutoScalingGroupName = 'aw-gha-default';
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity }),
  );
}

function inService(count: number) {
  return waitFor(
    `${count} instances in service`,
    () => {
      const ready = instances().filter(({ state }) => state === 'InService');
      return ready.length === count && ready.map(({ id }) => id);
    },
    { seconds: 60, state: () => instances().map(({ id, state }) => `${id} ${state}`) },
  );
}

test('an instance whose aw-runner crashes while a job runs drains all the same, and the job survives', async () => {
  await setDesired(1);
  const [id = ''] = await inService(1);
  const job = cloud.ci.enqueue('gha/default', 4);
  await waitFor('the job runs', () => job.state === 'running', { seconds: 20 });

  cloud.runners.crash(id);
  await setDesired(0);
  await waitFor('the instance is gone', () => instances().length === 0, { seconds: 60 });

  expect(job).toMatchObject({ state: 'finished', agent: id });
  expect(cloud.endedActions.all.filter(({ instanceId }) => instanceId === id)).toEqual([
    { instanceId: id, hook: 'aw-boot', result: 'CONTINUE', cause: 'completed' },
    { instanceId: id, hook: 'aw-drain', result: 'CONTINUE', cause: 'completed' },
  ]);
  const starts = cloud.runners.lines.all.filter(({ instanceId, text }) => {
    return instanceId === id && text.includes(' run on ');
  });
  expect(starts).toHaveLength(2);
});

test('an instance that is gone leaves no process, no mount and no disk', async () => {
  await setDesired(2);
  const ids = await inService(2);
  const folders = ids.map((id) => cloud.runners.folderOf(id));
  for (const folder of folders) expect((await startedFor(folder)).length).toBeGreaterThanOrEqual(2);
  await setDesired(0);
  await waitFor('the instances are gone', () => instances().length === 0, { seconds: 60 });
  await cloud.autoScaling.settled();
  for (const folder of folders) {
    expect(await startedFor(folder)).toEqual([]);
    expect(await mountsBelow(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
  }
});
