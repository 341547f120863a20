import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { makeGate } from '../../scripts/local/demo/gate.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { localFleet, PATIENCE_SECONDS } from '../support/local-fleet.ts';

/** Groups that follow the queues of the three stand-ins: the built functions, the real aw-runner, and polls that the test fires. */
let cloud: Cloud;
let fleet: ReturnType<typeof localFleet>;

const GROUPS = {
  gha: { provider: 'gha', name: 'default' },
  bk: { provider: 'bk', name: 'default' },
  cci: { provider: 'cci', name: 'default' },
} as const;
const ALL = Object.values(GROUPS);

const OK = { result: 'succeeded', starts: 1 };

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration', 'scaling'],
    groups: ALL.map((group) => ({ ...group, min: 0, max: 4, runner: { heartbeatSeconds: 2 } })),
  });
  fleet = localFleet(cloud);
  // The time between two polls is the test's.
  cloud.providers.buildkite.behave({ metricsPollSeconds: 0 });
});
afterAll(() => cloud?.stop());
afterEach(() => cloud.providers.github.behave({ faults: [] }));

const desired = () =>
  Object.fromEntries(cloud.autoScaling.groups().map(({ name, desired }) => [name, desired]));

const polls = () => cloud.gateway.functions.outcomes.all.filter((one) => one.function === 'scaling');

/** One poll, from its schedule to its end. */
async function poll(): Promise<void> {
  const before = polls().length;
  await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-scaling-poll');
  await waitFor('the end of a poll', () => polls().length > before, { seconds: PATIENCE_SECONDS });
}

test('queued jobs on three providers make their groups grow from zero, and run', async () => {
  expect(desired()).toEqual({ 'aw-gha-default': 0, 'aw-bk-default': 0, 'aw-cci-default': 0 });
  const jobs = ALL.map((group) => cloud.providers.queueJob(group, 'sleep 1'));
  await poll();
  expect(polls().at(-1)).toMatchObject({ outcome: 'done', detail: { sources: 3, held: {} } });
  expect(desired()).toEqual({ 'aw-gha-default': 1, 'aw-bk-default': 1, 'aw-cci-default': 1 });
  // The instances boot. A further poll does not launch others for the same jobs.
  await poll();
  expect(desired()).toEqual({ 'aw-gha-default': 1, 'aw-bk-default': 1, 'aw-cci-default': 1 });
  for (const job of jobs) expect(await fleet.untilEnded(job)).toMatchObject(OK);
});

test('without polls jobs wait and none is lost; the next poll continues', async () => {
  const gate = await makeGate();
  const jobs = [1, 2].map(() => cloud.providers.queueJob(GROUPS.gha, gate.wait));
  await waitFor('a job to run', () => jobs.some(({ now }) => now.state === 'running'), {
    seconds: PATIENCE_SECONDS,
  });
  expect(jobs.filter(({ now }) => now.state === 'running')).toHaveLength(1);
  expect(desired()['aw-gha-default']).toBe(1);
  await poll();
  expect(desired()['aw-gha-default']).toBe(2);
  await gate.open();
  for (const job of jobs) expect(await fleet.untilEnded(job)).toMatchObject(OK);
});

test('an outage of registration, and of the lists of jobs, costs no job and launches nothing beyond the queue', async () => {
  cloud.providers.github.behave({
    faults: [{ path: 'generate-jitconfig$', effect: { kind: 'answer', status: 503, body: {} } }],
  });
  const jobs = [1, 2, 3].map(() => cloud.providers.queueJob(GROUPS.gha, 'sleep 1'));
  for (let count = 0; count < 3; count += 1) await poll();
  expect(desired()['aw-gha-default']).toBeLessThanOrEqual(3);
  cloud.providers.github.behave({
    faults: [{ path: 'actions/runs', effect: { kind: 'answer', status: 503, body: {} } }],
  });
  const before = desired();
  await poll();
  const held = Object.values(polls().at(-1)?.detail?.held ?? {});
  expect(held).toEqual([expect.stringContaining('answered 503')]);
  expect(desired()).toEqual(before);
  cloud.providers.github.behave({ faults: [] });
  for (const job of jobs) expect(await fleet.untilEnded(job)).toMatchObject(OK);
});

test('without the function registration jobs wait, a group grows to its queue and no further, and the jobs run afterwards', {
  timeout: 1_800_000,
}, async () => {
  const restore = cloud.gateway.faults.add({
    service: 'lambda',
    operations: ['InvokeFunctionUrl'],
    effect: { kind: 'disconnect' },
  });
  // The agent that runs since the first test has its registration, and takes one of them.
  const jobs = [1, 2, 3].map(() => cloud.providers.queueJob(GROUPS.bk, 'sleep 1'));
  for (let count = 0; count < 3; count += 1) await poll();
  await fleet.inService(GROUPS.bk, desired()['aw-bk-default'] ?? 0);
  await poll();
  expect(desired()['aw-bk-default']).toBeLessThanOrEqual(3);
  expect(jobs.filter(({ now }) => now.state === 'queued').length).toBeGreaterThanOrEqual(2);
  expect(restore()).toBeGreaterThan(0);
  for (const job of jobs) expect(await fleet.untilEnded(job)).toMatchObject(OK);
  expect(desired()['aw-bk-default']).toBeLessThanOrEqual(3);
});

test('no secret is in the log of the function', () => {
  const lines = cloud.gateway.functions.lines.all.filter((line) => line.function === 'scaling');
  expect(lines.length).toBeGreaterThan(0);
  const text = JSON.stringify(lines);
  for (const value of Object.values(cloud.providers.settings.secrets).filter((secret) => secret !== ''))
    expect(text).not.toContain(value);
  expect(text).not.toMatch(/PRIVATE KEY|ghs_/);
});
