import { createHmac } from 'node:crypto';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { WEBHOOK_SECRETS } from '../../scripts/local/deploy/settings.ts';
import { functionUrl } from '../../scripts/local/function-urls/service.ts';
import { messagesIn } from '../../scripts/local/queue-depth.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { localFleet, PATIENCE_SECONDS } from '../support/local-fleet.ts';

/**
 * Webhooks of the stand-ins, from their delivery at the public URL to the desired capacity, with the built functions. The schedule of
 * polls does not exist, so what grows without a poll of the test grew because of a hint.
 */
let cloud: Cloud;
let url: string;

const GHA = { provider: 'gha', name: 'default' } as const;
/** Longer than the whole test: a runner with such a job takes no other one. */
const LONG = 'sleep 3600';
const patience = { seconds: PATIENCE_SECONDS };

const BK = { provider: 'bk', name: 'default' } as const;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration', 'scaling'],
    webhooks: true,
    groups: [GHA, BK].map((group) => ({ ...group, min: 0, max: 4, runner: { heartbeatSeconds: 2 } })),
  });
  url = functionUrl(cloud.url, 'aw_webhooks');
  cloud.providers.buildkite.behave({ metricsPollSeconds: 0 });
});
afterAll(() => cloud?.stop());

/**
 * Answers for a request without a place: above the concurrency, at the end of the function's own time, and at that of Lambda, which
 * comes first on a slow computer.
 */
const REFUSALS = [429, 503, 502];

const desired = (name: string) => cloud.autoScaling.groups().find((group) => group.name === name)?.desired;
const outcomes = () => cloud.gateway.functions.outcomes.all.filter((one) => one.function === 'scaling');
const webhookLog = () =>
  cloud.gateway.functions.lines.all.filter((line) => line.function === 'webhooks').map(({ text }) => text);
const deliveries = () => cloud.providers.github.deliveries();

/** Waits until no hint is on its way: the next one is then sent, and read, at once. */
async function untilQuiet(): Promise<void> {
  const unfinished = () => {
    const last = new Map(outcomes().map(({ messageId, outcome }) => [messageId, outcome]));
    return [...last.values()].filter((outcome) => outcome === 'retry').length;
  };
  // A hint is sent at most 10 s late, and a source is read again after 10 s.
  await sleep(11_000);
  await waitFor(
    'the end of all hints',
    async () => (await messagesIn(cloud, cloud.queues.inbox('scaling'))) === 0 && unfinished() === 0,
    { ...patience, state: outcomes },
  );
}

async function poll(): Promise<void> {
  const done = () => outcomes().filter(({ detail }) => detail && 'polls' in detail).length;
  const before = done();
  await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-scaling-poll');
  await waitFor('the end of a poll', () => done() > before, { ...patience, state: outcomes });
}

test('strangers who fill the concurrency of the URL stop webhooks, and nothing else', async () => {
  // Each request that has the form of a signature waits for the secret, which is slow.
  const repair = cloud.gateway.faults.add({
    service: 'secretsmanager',
    caller: 'webhooks',
    effect: { kind: 'delay', ms: 30_000 },
  });
  const statuses: number[] = [];
  const attack = new AbortController();
  const stranger = async () => {
    while (!attack.signal.aborted) {
      const headers = { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` };
      const body = JSON.stringify({ action: 'queued', from: 'a stranger' });
      const { status } = await fetch(`${url}github`, { method: 'POST', headers, body });
      statuses.push(status);
      if (status === 429) await sleep(50);
    }
  };
  const strangers = Array.from({ length: 12 }, stranger);
  try {
    await waitFor('the URL to be full', () => statuses.includes(429), patience);
    const job = cloud.providers.queueJob(GHA, 'sleep 1');
    await waitFor('the delivery to end', () => deliveries().every(({ status }) => status !== 0), {
      ...patience,
      state: deliveries,
    });
    expect(
      deliveries()
        .map(({ status }) => status)
        .filter((status) => !REFUSALS.includes(status)),
    ).toEqual([]);
    expect(desired('aw-gha-default')).toBe(0);
    // Polls, reports of instances, registrations and jobs go on.
    await poll();
    expect(desired('aw-gha-default')).toBe(1);
    const before = statuses.length;
    expect(await localFleet(cloud).untilEnded(job)).toMatchObject({ result: 'succeeded', starts: 1 });
    expect(statuses.slice(before)).toContain(429);
    // The requests that were let in, and none of the others, reached the function.
    expect(statuses.filter((status) => !REFUSALS.includes(status))).toEqual([]);
  } finally {
    repair();
    attack.abort();
    await Promise.all(strangers);
  }
  expect(outcomes().every(({ detail }) => !detail || !('hinted' in detail))).toBe(true);
  expect(webhookLog().join('\n')).not.toContain('a stranger');
});

test('a queued job of GitHub makes its group grow without a poll, also if its webhook comes twice', async () => {
  cloud.providers.github.behave({ webhookDeliveries: 2 });
  await untilQuiet();
  const before = desired('aw-gha-default') ?? 0;
  for (let count = 0; count < 3; count += 1) cloud.providers.queueJob(GHA, LONG);
  await waitFor('the group to grow', () => (desired('aw-gha-default') ?? 0) >= Math.min(4, before + 2), {
    ...patience,
    state: () => [outcomes(), deliveries(), webhookLog()],
  });
  // The outcome of the hint follows the change of the capacity.
  const hinted = await waitFor(
    'the outcome of a hint',
    () => {
      const found = outcomes().filter(({ detail }) => detail && 'hinted' in detail);
      return found.length > 0 && found;
    },
    { ...patience, state: outcomes },
  );
  expect(hinted.every(({ detail }) => detail?.hinted === 1)).toBe(true);
  cloud.providers.github.behave({ webhookDeliveries: 1 });
});

test('a signed webhook of Buildkite, and its partner event alone, make its group grow', async () => {
  cloud.providers.queueJob(BK, LONG);
  await waitFor('the group to grow', () => desired('aw-bk-default') === 1, { ...patience, state: outcomes });
  await untilQuiet();
  const before = cloud.gateway.calls.all.filter(({ operation }) => operation === 'InvokeFunctionUrl').length;
  cloud.providers.buildkite.behave({ webhookDeliveries: 0 });
  cloud.providers.queueJob(BK, LONG);
  await waitFor('the group to grow', () => desired('aw-bk-default') === 2, { ...patience, state: outcomes });
  const urls = cloud.gateway.calls.all
    .filter(({ operation }) => operation === 'InvokeFunctionUrl')
    .slice(before)
    .map(({ parameters }) => parameters.FunctionName);
  expect(urls).not.toContain('aw_webhooks');
});

test('a webhook that is lost costs a poll, and no job', async () => {
  cloud.providers.github.behave({ webhookDeliveries: 0 });
  await untilQuiet();
  const before = desired('aw-gha-default') ?? 0;
  const job = cloud.providers.queueJob(GHA, 'true');
  await poll();
  // At its maximum the group cannot grow; the job waits for a place then.
  expect(desired('aw-gha-default')).toBeGreaterThanOrEqual(Math.min(4, before));
  expect(['succeeded', undefined]).toContain(job.now.result);
  cloud.providers.github.behave({ webhookDeliveries: 1 });
});

test('forged, foreign and malformed requests get an answer without content, and leave no hint', async () => {
  await untilQuiet();
  const key = cloud.deployment.providers.secrets[WEBHOOK_SECRETS.gha] ?? '';
  const sign = (body: string | Uint8Array, by = key) => ({
    'content-type': 'application/json',
    'x-hub-signature-256': `sha256=${createHmac('sha256', by).update(body).digest('hex')}`,
  });
  const queued = (repository: string) =>
    JSON.stringify({ action: 'queued', workflow_job: { id: 1 }, repository: { full_name: repository } });
  const before = outcomes().length;
  const send = async (
    path: string,
    headers: Record<string, string>,
    body: string | Uint8Array<ArrayBuffer>,
  ) => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body });
    return [answer.status, await answer.text()];
  };
  const own = queued('acme/monorepo');
  expect(await send('github', {}, own)).toEqual([401, '{}']);
  expect(await send('github', sign(own, `${key}x`), own)).toEqual([401, '{}']);
  expect(await send('github', sign(own), own.replace('queued', 'waiting'))).toEqual([401, '{}']);
  expect(await send('github', sign(queued('acme/secret-plans')), queued('acme/secret-plans'))).toEqual([
    404,
    '{}',
  ]);
  expect(await send('github', sign('{"action'), '{"action')).toEqual([400, '{}']);
  expect(await send('gitlab', sign(own), own)).toEqual([404, '{}']);
  expect(await send('buildkite', sign(own), own)).toEqual([401, '{}']);
  const large = JSON.stringify({ ...JSON.parse(own), padding: 'x'.repeat(1_048_576) });
  expect(await send('github', sign(large), large)).toEqual([413, '{"error":"body-too-large"}']);
  // Bytes that Lambda passes on in Base64 are verified as they were sent.
  const bytes = new TextEncoder().encode(own);
  const binary = { ...sign(bytes), 'content-type': 'application/octet-stream' };
  expect(outcomes()).toHaveLength(before);
  expect(await send('github', binary, bytes)).toEqual([202, '{}']);
  await waitFor('the hint of the only valid one', () => outcomes().length > before, patience);
  expect(webhookLog().join('\n')).not.toMatch(/secret-plans|padding/);
});

test('no secret and no body is in a log', () => {
  const text = JSON.stringify(cloud.gateway.functions.lines.all);
  expect(webhookLog().length).toBeGreaterThan(0);
  for (const value of Object.values(cloud.providers.settings.secrets).filter((secret) => secret !== ''))
    expect(text).not.toContain(value);
  expect(webhookLog().join('\n')).not.toMatch(/workflow_job|agent_query_rules|full_name/);
});
