import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startedFor } from '../../scripts/local/cleanup/clean.ts';
import { mountsBelow } from '../../scripts/local/cleanup/system.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

let cloud: Cloud;
const patience = { seconds: PATIENCE_SECONDS };

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    groups: [
      { provider: 'gha', name: 'default', min: 0, max: 3, warmingSet: 'default', purchase: 'spot' },
      { provider: 'bk', name: 'default', min: 0, max: 3 },
      { provider: 'cci', name: 'default', min: 0, max: 3 },
    ],
  });
});
afterAll(() => cloud?.stop());

function instances() {
  return cloud.autoScaling.groups().flatMap((group) => group.instances);
}

async function setDesired(DesiredCapacity: number, AutoScalingGroupName = 'aw-gha-default'): Promise<void> {
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
    { ...patience, state: () => instances().map(({ id, state }) => `${id} ${state}`) },
  );
}

test('an instance whose aw-runner crashes while a job runs drains all the same, and the job survives', async () => {
  await setDesired(1);
  const [id = ''] = await inService(1);
  const job = cloud.providers.queueJob({ provider: 'gha', name: 'default' }, 'sleep 4');
  await waitFor('the job runs', () => job.now.state === 'running', patience);

  cloud.runners.crash(id);
  await setDesired(0);
  await waitFor('the instance is gone', () => instances().length === 0, patience);

  expect(job.now).toMatchObject({ result: 'succeeded', agent: `${id}-1`, starts: 1 });
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
  await setDesired(1, 'aw-bk-default');
  await setDesired(1, 'aw-cci-default');
  const ids = await inService(2);
  const { buildkite, circleci } = cloud.providers;
  await waitFor(
    'both agents',
    () =>
      buildkite.registrations().some(({ state }) => state === 'connected') &&
      circleci.registrations().length > 0,
    patience,
  );
  const folders = ids.map((id) => cloud.runners.folderOf(id));
  for (const folder of folders) expect((await startedFor(folder)).length).toBeGreaterThanOrEqual(2);
  await setDesired(0, 'aw-bk-default');
  await setDesired(0, 'aw-cci-default');
  await waitFor('the instances are gone', () => instances().length === 0, patience);
  await cloud.autoScaling.settled();
  for (const folder of folders) {
    expect(await startedFor(folder)).toEqual([]);
    expect(await mountsBelow(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
  }
});
