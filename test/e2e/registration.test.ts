import { resolve } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClients } from '../../scripts/local/clients.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { lambdaName } from '../../scripts/local/deploy/names.ts';
import { functionUrl } from '../../scripts/local/function-urls/service.ts';
import type { AccessKey } from '../../scripts/local/gateway/callers.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { callFunctionUrl } from '../../scripts/local/testing/call-function-url.ts';
import type { RegistrationRequest } from '../../shared/fleet/registration.ts';
import { PATIENCE_SECONDS } from '../support/local-fleet.ts';

/** The door of the function `registration`: the built bundle behind its URL, with instances that are no processes. */
let cloud: Cloud;
const patience = { seconds: PATIENCE_SECONDS };

const GROUPS = [
  { provider: 'gha', name: 'default', min: 0, max: 20 },
  { provider: 'gha', name: 'other', min: 0, max: 1 },
] as const;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    instances: 'none',
    groups: GROUPS,
  });
});
afterAll(() => cloud?.stop());

const instances = () => cloud.autoScaling.groups().flatMap((group) => group.instances);

async function setDesired(DesiredCapacity: number): Promise<void> {
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName: 'aw-gha-default', DesiredCapacity }),
  );
  await cloud.autoScaling.settled();
}

const keyOf = (session: string, role = 'aw-gha-default') =>
  cloud.gateway.callers.issue({ name: session, role, session });

function call(key: AccessKey, body: RegistrationRequest | object = { action: 'register', previous: 'none' }) {
  const url = functionUrl(cloud.url, lambdaName('aw', 'registration'));
  return callFunctionUrl(url, body, key, { region: cloud.deployment.home.region });
}

async function report(instanceId: string, key: AccessKey, name: 'Runner Ready' | 'Runner Drained') {
  const { sqs } = createClients(cloud.url, cloud.deployment.home.region, key);
  const body = {
    report: name,
    group: 'gha/default',
    autoScalingGroup: 'aw-gha-default',
    instanceId,
    at: new Date().toISOString(),
    snapshot: { set: 'default', outcome: 'cold' },
    seconds: { restore: 1, boot: 2, drain: 1 },
  };
  const QueueUrl = cloud.queues.url('aw-reports');
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(body) }));
  sqs.destroy();
}

test('an instance gets a registration once it is in service, and leaves none behind', async () => {
  await setDesired(1);
  const id = instances()[0]?.id ?? '';
  const key = keyOf(id);
  expect(await call(key)).toMatchObject({
    status: 409,
    body: { outcome: 'refused', reason: 'not-in-service', retryAfterSeconds: 2 },
  });

  await report(id, key, 'Runner Ready');
  await waitFor('the instance in service', () => instances()[0]?.state === 'InService', patience);
  // An execution environment remembers for a second that it was not.
  const answer = await waitFor(
    'the registration',
    async () => {
      const given = await call(key);
      return given.status === 200 && given;
    },
    patience,
  );
  expect(answer).toMatchObject({
    status: 200,
    body: { outcome: 'registered', registration: { provider: 'gha', name: `${id}-1` } },
  });
  expect(cloud.providers.github.registrations()).toMatchObject([
    { name: `${id}-1`, scope: 'acme/monorepo', labels: ['hearth-default'] },
  ]);
  expect(await call(key)).toMatchObject({ status: 429, body: { reason: 'too-soon' } });

  await setDesired(0);
  await report(id, key, 'Runner Drained');
  await waitFor('the termination', () => instances().length === 0, patience);
  await waitFor('the clean-up', () => cloud.providers.github.registrations().length === 0, patience);
  // It may call GitHub again after the removal.
  await waitFor(
    'the outcome of the clean-up',
    () =>
      cloud.gateway.functions.outcomes.all.some(
        (one) => one.function === 'registration' && one.outcome === 'done',
      ),
    { ...patience, state: () => cloud.gateway.functions.outcomes.all },
  );
});

test('nobody but the instance itself gets its registration', async () => {
  await setDesired(1);
  const id = instances()[0]?.id ?? '';
  await report(id, keyOf(id), 'Runner Ready');
  await waitFor('the instance in service', () => instances()[0]?.state === 'InService', patience);
  const before = cloud.providers.github.requests().length;

  // The role of another group, a role of no group, a session that is no instance, and no signature.
  expect(await call(keyOf(id, 'aw-gha-other'))).toMatchObject({ status: 403 });
  expect(await call(keyOf(id, 'aw_lifecycle'))).toMatchObject({ status: 403 });
  expect(await call(keyOf('operator'))).toMatchObject({ status: 403 });
  expect((await fetch(functionUrl(cloud.url, 'aw_registration'), { method: 'POST' })).status).toBe(403);
  expect(cloud.providers.github.requests()).toHaveLength(before);
  expect(cloud.providers.github.registrations()).toEqual([]);
  await setDesired(0);
  await report(id, keyOf(id), 'Runner Drained');
});

test('no secret is in the log of a function, in a recorded call or in an event', async () => {
  const { settings } = cloud.providers;
  const hidden = Object.values(settings.secrets).filter((value) => value !== '');
  const configs = cloud.providers.github
    .requests()
    .filter(({ path }) => path.endsWith('/generate-jitconfig'));
  expect(configs.length).toBeGreaterThan(0);
  const visible = JSON.stringify([cloud.gateway.functions.lines.all, cloud.gateway.calls.all]);
  for (const secret of hidden) expect(visible).not.toContain(secret);
  expect(visible).not.toMatch(/PRIVATE KEY|encoded_jit_config|ghs_/);
});
