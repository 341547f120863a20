import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mountsBelow } from '../../scripts/local/cleanup/system.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { makeGate } from '../../scripts/local/demo/gate.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';
import { seeded } from '../support/random.ts';

const INSTANCES = 10;
const JOB_SECONDS = 8;
const chance = seeded();

let cloud: Cloud;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    groups: [{ provider: 'gha', name: 'default', min: 0, max: INSTANCES, warmingSet: 'default' }],
  });
});
afterAll(() => cloud?.stop());

const instances = () => cloud.autoScaling.groups().flatMap((group) => group.instances);
const ids = (state: string) => instances().flatMap((one) => (one.state === state ? [one.id] : []));

async function setDesired(DesiredCapacity: number): Promise<void> {
  const AutoScalingGroupName = 'aw-gha-default';
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity }),
  );
}

/** SIGKILL to each instance's aw-runner, each at a moment of its own, and not before it has been started. */
async function crashEach(instances: readonly string[], withinSeconds: number): Promise<void> {
  await Promise.all(
    instances.map(async (id) => {
      await sleep(chance.next() * withinSeconds * 1000);
      await waitFor(`the aw-runner of ${id}`, () => isCrashed(id), { seconds: PATIENCE_SECONDS });
    }),
  );
}

function isCrashed(id: string): boolean {
  try {
    cloud.runners.crash(id);
    return true;
  } catch {
    // Its disk is not made yet.
    return false;
  }
}

test(`no job is lost to a SIGKILL at 2 x ${INSTANCES} random moments of boot and drain (HEARTH_SEED=${chance.seed})`, {
  timeout: 1_800_000,
}, async () => {
  await setDesired(INSTANCES);
  const all = await waitFor(
    'instances',
    () => instances().length === INSTANCES && instances().map(({ id }) => id),
    { seconds: PATIENCE_SECONDS },
  );
  await crashEach(all, 3);
  await waitFor('all instances in service', () => ids('InService').length === INSTANCES, {
    seconds: PATIENCE_SECONDS,
    state: () => instances().map(({ id, state }) => `${id} ${state}`),
  });
  expect(ids('InService').sort(), 'none was replaced').toEqual([...all].sort());

  // The first agents would otherwise have run their job when the last ones start.
  await waitFor(
    'an agent on each instance',
    () => cloud.providers.github.registrations().filter(({ online }) => online).length === INSTANCES,
    { seconds: PATIENCE_SECONDS, state: () => cloud.providers.github.registrations().length },
  );
  const group = { provider: 'gha', name: 'default' } as const;
  // They end side by side, also if the last one starts late.
  const gate = await makeGate();
  const jobs = all.map(() => cloud.providers.queueJob(group, `${gate.wait}; sleep ${JOB_SECONDS}`));
  await waitFor('all jobs run', () => jobs.every(({ now }) => now.state === 'running'), {
    seconds: PATIENCE_SECONDS,
    state: () => jobs.map(({ now }) => now.state),
  });
  await setDesired(0);
  await gate.open();
  await crashEach(all, JOB_SECONDS);
  await waitFor('all instances gone', () => instances().length === 0, {
    seconds: 2 * PATIENCE_SECONDS,
    state: () => instances().map(({ id, state }) => `${id} ${state}`),
  });

  expect(jobs.map(({ now }) => [now.result, now.starts])).toEqual(jobs.map(() => ['succeeded', 1]));
  const ended = cloud.endedActions.all.map(({ instanceId, hook, result, cause }) =>
    [instanceId, hook, result, cause].join(' '),
  );
  expect(ended.sort()).toEqual(
    all.flatMap((id) => [`${id} aw-boot CONTINUE completed`, `${id} aw-drain CONTINUE completed`]).sort(),
  );
  await cloud.autoScaling.settled();
  for (const id of all) expect(await mountsBelow(cloud.runners.folderOf(id))).toEqual([]);
});
