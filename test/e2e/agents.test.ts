import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetSecretValueCommand, PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { makeGate } from '../../scripts/local/demo/gate.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { PROVIDER_SECRETS } from '../../scripts/local/deploy/settings.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { localFleet, PATIENCE_SECONDS } from '../support/local-fleet.ts';

/**
 * What users of self-hosted runners complain about, as far as agents, drains and registrations have a part in it: one test each, in
 * one cloud with the real aw-runner, the real functions and the stand-ins of the three providers. The clocks of the stand-ins are
 * faster; those of the product are not.
 */
let cloud: Cloud;
let fleet: ReturnType<typeof localFleet>;

const GROUPS = {
  gha: { provider: 'gha', name: 'default' },
  ghost: { provider: 'gha', name: 'ghost' },
  release: { provider: 'gha', name: 'release' },
  bk: { provider: 'bk', name: 'default' },
  idle: { provider: 'bk', name: 'idle' },
  cci: { provider: 'cci', name: 'default' },
} as const;

const OK = { result: 'succeeded', starts: 1 };
const patience = { seconds: PATIENCE_SECONDS };

/** The scenarios that take more than a minute by themselves run beside the others. */
let ghost: { id: string; ended: Promise<unknown> };

beforeAll(async () => {
  const sizes = { min: 0, max: 3, runner: { heartbeatSeconds: 2 } };
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    groups: [
      ...[GROUPS.gha, GROUPS.ghost, GROUPS.release, GROUPS.bk, GROUPS.cci].map((group) => ({
        ...group,
        ...sizes,
      })),
      { ...GROUPS.idle, min: 1, max: 3, runner: { idleTimeoutMinutes: 0.1 } },
    ],
  });
  fleet = localFleet(cloud);
  ghost = await makeGhost();
});
afterAll(() => cloud?.stop());
afterEach(() => {
  cloud.gateway.faults.clear();
  cloud.providers.github.behave({ faults: [] });
  cloud.providers.buildkite.behave({ faults: [] });
});

const queue = (group: (typeof GROUPS)[keyof typeof GROUPS], command: string) =>
  cloud.providers.queueJob(group, command);

/** A runner whose pick-up of a job GitHub has refused: the listener waits on, and its registration is used up. */
async function makeGhost() {
  const [id = ''] = await fleet.scaleTo(GROUPS.ghost, 1);
  await fleet.untilListening(id);
  cloud.providers.github.behave({ lostPickups: 1 });
  const job = queue(GROUPS.ghost, 'sleep 1');
  await waitFor('the ghost', () => fleet.registrationsOf(id).some((one) => one.ghost), patience);
  const ended = fleet.untilEnded(job, 3 * PATIENCE_SECONDS);
  // Its failure is that of its test.
  ended.catch(() => {});
  return { id, ended };
}

describe('GitHub', () => {
  test('REST calls a runner idle that runs a job: a scale-in does not end the job, and nothing touches the runner', async () => {
    const { github } = cloud.providers;
    const [id = ''] = await fleet.scaleTo(GROUPS.gha, 1);
    const gate = await makeGate();
    const job = queue(GROUPS.gha, gate.wait);
    await fleet.untilRunning(job);
    github.behave({ busyLies: true });
    const before = github.requests().length;
    await fleet.setDesired(GROUPS.gha, 0);
    await fleet.untilDraining(id);
    await sleep(3_000);
    await gate.open();
    expect(await fleet.untilEnded(job)).toEqual({ ...OK, agent: `${id}-1` });
    const touched = github
      .requests()
      .slice(before)
      .filter(({ method }) => ['DELETE', 'PUT'].includes(method));
    expect(touched).toEqual([]);
    await fleet.untilGone(GROUPS.gha);
    github.behave({ busyLies: false });
    await waitFor('no registration', () => fleet.registrationsOf(id).length === 0, patience);
  });

  test('a job is assigned to an idle runner while it is scaled in: the job runs to its end', async () => {
    const { github } = cloud.providers;
    const [id = ''] = await fleet.scaleTo(GROUPS.release, 1);
    await fleet.untilListening(id);
    // The change of labels has no effect, and so the runner is free for jobs until its registration is removed.
    github.behave({ labelChangesAct: false });
    await fleet.setDesired(GROUPS.release, 0);
    await waitFor(
      'the removal of the labels',
      () => fleet.registrationsOf(id)[0]?.labels.length === 0,
      patience,
    );
    const job = queue(GROUPS.release, 'sleep 3');
    expect(await fleet.untilEnded(job)).toEqual({ ...OK, agent: `${id}-1` });
    await fleet.untilGone(GROUPS.release);
    github.behave({ labelChangesAct: true });
    expect(fleet.registrationsOf(id)).toEqual([]);
  });

  test('two jobs for one runner run one after the other, each with an agent and a registration of its own', async () => {
    const [id = ''] = await fleet.scaleTo(GROUPS.gha, 1);
    const jobs = [queue(GROUPS.gha, 'sleep 1'), queue(GROUPS.gha, 'sleep 1')];
    const ended = await Promise.all(jobs.map((job) => fleet.untilEnded(job)));
    expect(ended).toEqual([
      { ...OK, agent: `${id}-1` },
      { ...OK, agent: `${id}-2` },
    ]);
  });

  test('GitHub removes idle runners: no storm of registrations, no replacement, and the next job runs', async () => {
    const { github } = cloud.providers;
    const [id = ''] = await fleet.inService(GROUPS.gha, 1);
    await fleet.untilListening(id);
    const before = fleet.issuedTo(id);
    github.behave({ idleRemovalSeconds: 1 });
    await sleep(25_000);
    await waitFor('another registration', () => fleet.issuedTo(id) > before, patience);
    github.behave({ idleRemovalSeconds: null });
    expect(fleet.issuedTo(id) - before).toBeLessThanOrEqual(3);
    expect(await fleet.untilEnded(queue(GROUPS.gha, 'sleep 1'))).toMatchObject(OK);
    expect(await fleet.inService(GROUPS.gha, 1)).toEqual([id]);
  });

  test('a just-in-time configuration is never used twice, also after its agent was killed', async () => {
    const [id = ''] = await fleet.inService(GROUPS.gha, 1);
    await fleet.untilListening(id);
    const killed = fleet.registrationsOf(id).map(({ name }) => name);
    expect(await cloud.runners.killAgent(id)).toBe(true);
    await waitFor(
      'another registration',
      () => fleet.registrationsOf(id).some(({ name, online }) => online && !killed.includes(name)),
      { ...patience, state: () => fleet.state(GROUPS.gha) },
    );
    // The one of the killed agent is removed before the next is issued: it would be a runner that nobody serves.
    expect(fleet.registrationsOf(id).filter(({ name }) => killed.includes(name))).toEqual([]);
  });

  test('the answers of the provider and of the function are lost after a registration was issued: none is left behind', async () => {
    const { github } = cloud.providers;
    const [id = ''] = await fleet.inService(GROUPS.gha, 1);
    await fleet.untilListening(id);
    github.behave({
      faults: [{ path: '/generate-jitconfig$', times: 1, effect: { kind: 'lose-answer' } }],
    });
    cloud.gateway.faults.add({ service: 'lambda', caller: id, times: 1, effect: { kind: 'lose-answer' } });
    expect(await fleet.untilEnded(queue(GROUPS.gha, 'sleep 1'))).toMatchObject(OK);
    const next = queue(GROUPS.gha, 'sleep 1');
    expect(await fleet.untilEnded(next)).toMatchObject(OK);
    await fleet.untilListening(id);
    expect(fleet.registrationsOf(id)).toHaveLength(1);
    expect(await fleet.inService(GROUPS.gha, 1)).toEqual([id]);
  });

  test('GitHub and the function fail for a while: the running job ends well, no instance is replaced, and work continues', async () => {
    const { github } = cloud.providers;
    const [id = ''] = await fleet.inService(GROUPS.gha, 1);
    const running = queue(GROUPS.gha, 'sleep 12');
    await fleet.untilRunning(running);
    github.behave({ faults: [{ path: '.', effect: { kind: 'answer', status: 503 } }] });
    const stop = cloud.gateway.faults.add({
      service: 'lambda',
      operations: ['InvokeFunctionUrl'],
      effect: { kind: 'disconnect' },
    });
    // An instance that boots meanwhile is in service without a provider.
    await fleet.setDesired(GROUPS.gha, 2);
    const both = await fleet.inService(GROUPS.gha, 2);
    await sleep(15_000);
    github.behave({ faults: [] });
    stop();
    expect(await fleet.untilEnded(running)).toMatchObject(OK);
    const later = [queue(GROUPS.gha, 'sleep 1'), queue(GROUPS.gha, 'sleep 1')];
    for (const job of later) expect(await fleet.untilEnded(job)).toMatchObject(OK);
    expect((await fleet.inService(GROUPS.gha, 2)).sort()).toEqual([...both].sort());
    expect(both).toContain(id);
  });

  test('the secret is wrong: no instance is replaced, and a right one is enough to continue', async () => {
    const SecretId = PROVIDER_SECRETS.githubApp;
    const { SecretString } = await cloud.clients.secrets.send(new GetSecretValueCommand({ SecretId }));
    const put = (value: string | undefined) =>
      cloud.clients.secrets.send(new PutSecretValueCommand({ SecretId, SecretString: value }));
    await fleet.setDesired(GROUPS.gha, 0);
    await fleet.setDesired(GROUPS.release, 0);
    // The execution environments of the function have tokens that live on: new ones are needed here.
    await put('{"appId": 1, "privateKey": "not a key"}');
    cloud.providers.github.behave({ tokenSeconds: 1 });
    const [id = ''] = await fleet.scaleTo(GROUPS.release, 1);
    await waitFor(
      'the refusal',
      () =>
        fleet.linesOf(id).some((line) => /no registration: (credential|unavailable)/.test(line)) ||
        fleet.issuedTo(id) > 0,
      { ...patience, state: () => fleet.state(GROUPS.release) },
    );
    await sleep(3_000);
    await put(SecretString);
    cloud.providers.github.behave({ tokenSeconds: 3_600 });
    expect(await fleet.untilEnded(queue(GROUPS.release, 'sleep 1'))).toMatchObject(OK);
    expect(await fleet.inService(GROUPS.release, 1)).toEqual([id]);
  });

  test('a listener whose registration was used up by a job that it did not get is replaced, and the job runs', async () => {
    const { id, ended } = ghost;
    expect(await ended).toMatchObject(OK);
    await waitFor(
      'the end of the ghost',
      () => !fleet.registrationsOf(id).some((one) => one.ghost && one.online),
      { ...patience, state: () => fleet.registrationsOf(id) },
    );
    expect(await fleet.inService(GROUPS.ghost, 1)).toEqual([id]);
  });
});

describe('Buildkite and CircleCI', () => {
  test('aw-runner is killed again and again while it drains: no agent gets a second SIGTERM, and both jobs end well', async () => {
    const [bk = ''] = await fleet.scaleTo(GROUPS.bk, 1);
    const [cci = ''] = await fleet.scaleTo(GROUPS.cci, 1);
    // A job that sees SIGTERM fails.
    const gate = await makeGate();
    const command = `trap 'exit 9' TERM; ${gate.wait}`;
    const jobs = [queue(GROUPS.bk, command), queue(GROUPS.cci, command)];
    for (const job of jobs) await fleet.untilRunning(job);
    await fleet.setDesired(GROUPS.bk, 0);
    await fleet.setDesired(GROUPS.cci, 0);
    for (const id of [bk, cci]) await fleet.untilDraining(id);
    for (let count = 0; count < 3; count += 1) {
      await sleep(1_700);
      for (const id of [bk, cci]) cloud.runners.crash(id);
    }
    await gate.open();
    expect(await fleet.untilEnded(jobs[0] as never)).toEqual({ ...OK, agent: `${bk}-1` });
    expect(await fleet.untilEnded(jobs[1] as never)).toEqual({ ...OK, agent: `${cci}-1` });
    await fleet.untilGone(GROUPS.bk);
    await fleet.untilGone(GROUPS.cci);
  });

  test('Buildkite knows at once that a draining agent takes no job', async () => {
    const { buildkite } = cloud.providers;
    const [id = ''] = await fleet.scaleTo(GROUPS.bk, 1);
    const agent = () => buildkite.registrations().find(({ name }) => name === `${id}-1`);
    const gate = await makeGate();
    const job = queue(GROUPS.bk, gate.wait);
    await fleet.untilRunning(job);
    await fleet.setDesired(GROUPS.bk, 0);
    await waitFor('the state stopping', () => agent()?.state === 'stopping', patience);
    const late = queue(GROUPS.bk, 'sleep 1');
    await gate.open();
    expect(await fleet.untilEnded(job)).toEqual({ ...OK, agent: `${id}-1` });
    await fleet.untilGone(GROUPS.bk);
    expect(agent()?.state).toBe('disconnected');
    expect(late.now.state).toBe('queued');
    await fleet.scaleTo(GROUPS.bk, 1);
    expect(await fleet.untilEnded(late)).toMatchObject(OK);
  });

  test('Buildkite fails while agents run: they stay, and the job that was queued meanwhile runs', async () => {
    const { buildkite } = cloud.providers;
    const [id = ''] = await fleet.scaleTo(GROUPS.bk, 1);
    // The agent of the job before may not have ended yet.
    const used = cloud.providers.jobs('bk').map(({ agent }) => agent);
    const connected = () =>
      buildkite
        .registrations()
        .find(({ name, state }) => name.startsWith(`${id}-`) && state === 'connected' && !used.includes(name))
        ?.name;
    await waitFor('the agent', () => connected() !== undefined, patience);
    const agent = connected();
    buildkite.behave({ faults: [{ path: '/v3/', effect: { kind: 'answer', status: 502 } }] });
    const job = queue(GROUPS.bk, 'sleep 1');
    await sleep(6_000);
    buildkite.behave({ faults: [] });
    expect(await fleet.untilEnded(job)).toMatchObject({ ...OK, agent });
    expect(await fleet.inService(GROUPS.bk, 1)).toEqual([id]);
  });

  test('idle runners leave until the minimum is reached: each lowers the desired capacity once', async () => {
    await fleet.setDesired(GROUPS.idle, 3);
    // One that was in service first can leave before the last one is.
    const booted = new Set<string>();
    await waitFor(
      'three instances that were in service',
      () => {
        for (const { id, state } of fleet.instances(GROUPS.idle)) if (state === 'InService') booted.add(id);
        return booted.size >= 3;
      },
      { ...patience, state: () => fleet.state(GROUPS.idle) },
    );
    const left = await waitFor(
      'one instance',
      () => {
        const [first, ...others] = fleet.instances(GROUPS.idle);
        return others.length === 0 && first?.state === 'InService' && first.id;
      },
      { ...patience, state: () => fleet.state(GROUPS.idle) },
    );
    await sleep(5_000);
    const group = cloud.autoScaling.groups().find(({ name }) => name === 'aw-bk-idle');
    expect(group?.desired).toBe(1);
    expect(fleet.instances(GROUPS.idle).map(({ id }) => id)).toEqual([left]);
    expect(await fleet.untilEnded(queue(GROUPS.idle, 'sleep 1'))).toMatchObject(OK);
  });
});

test('every job of these scenarios ran once', () => {
  const { providers } = cloud;
  const jobs = (['gha', 'bk', 'cci'] as const).flatMap((provider) => providers.jobs(provider));
  expect(jobs.filter(({ result, starts }) => result !== 'succeeded' || starts !== 1)).toEqual([]);
});
