import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { QueuedJob } from '../../scripts/local/ci-providers.ts';
import { startedFor } from '../../scripts/local/cleanup/clean.ts';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { fireSchedule } from '../../scripts/local/deploy/fire-schedule.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { CI_PROVIDERS, type CiProvider } from '../../shared/fleet/names.ts';
import { localFleet, PATIENCE_SECONDS } from '../support/local-fleet.ts';
import { seeded } from '../support/random.ts';

const KILLS = 50;
const RUNNERS = 2;
const chance = seeded();

const GROUPS = {
  gha: { provider: 'gha', name: 'default' },
  bk: { provider: 'bk', name: 'default' },
  cci: { provider: 'cci', name: 'default' },
} as const;

let cloud: Cloud;
let fleet: ReturnType<typeof localFleet>;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration'],
    groups: CI_PROVIDERS.map((provider) => ({
      ...GROUPS[provider],
      min: 0,
      max: RUNNERS,
      runner: { heartbeatSeconds: 2 },
    })),
  });
  fleet = localFleet(cloud);
  hasten();
});
afterAll(() => cloud?.stop());

/** The loss of an agent shows after seconds instead of minutes, and not before a computer that stands still for ten seconds goes on. */
function hasten(): void {
  const { github, buildkite, circleci } = cloud.providers;
  github.behave({ lockSeconds: 24, offlineSeconds: 6, pickupSeconds: 20, pollSeconds: 5 });
  buildkite.behave({ heartbeatSeconds: 1, lostSeconds: 20, acceptSeconds: 10 });
  circleci.behave({ lostSeconds: 20, startSeconds: 20, pollSeconds: 5 });
}

/** What can be killed: each returns whether there was something to kill. */
const VICTIMS: Record<string, () => Promise<boolean>> = {
  agent: () => cloud.runners.killAgent(anInstance()),
  async 'aw-runner'() {
    try {
      cloud.runners.crash(anInstance());
      return true;
    } catch {
      // Its instance is between two starts.
      return false;
    }
  },
  /** An execution environment, during a call if there is one. */
  async function() {
    const workers = (await startedFor(cloud.folder)).filter(({ command }) =>
      /ministack-lambda-aw_(registration|lifecycle)\S*_worker\.js/.test(command),
    );
    const worker = pick(workers);
    if (!worker) return false;
    try {
      return process.kill(worker.pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
      return false;
    }
  },
  async 'stand-in'() {
    await cloud.providers.restart(pick(CI_PROVIDERS) as CiProvider);
    hasten();
    return true;
  },
};

function pick<T>(choices: readonly T[]): T | undefined {
  return choices[Math.floor(chance.next() * choices.length)];
}

function anInstance(): string {
  return pick(CI_PROVIDERS.flatMap((provider) => fleet.instances(GROUPS[provider])))?.id ?? '';
}

/** One job per provider after the other, as long as the kills last. */
async function keepBusy(jobs: QueuedJob[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    for (const provider of CI_PROVIDERS) {
      const waiting = jobs.filter((job) => job.provider === provider && job.now.state === 'queued');
      if (waiting.length >= RUNNERS) continue;
      const seconds = (1 + chance.next() * 4).toFixed(1);
      jobs.push(cloud.providers.queueJob(GROUPS[provider], `sleep ${seconds}`, 5));
    }
    await sleep(500);
  }
}

test(`${KILLS} kills of agents, aw-runner, functions and stand-ins lose no job and leave no registration (HEARTH_SEED=${chance.seed})`, {
  timeout: 1_800_000,
}, async () => {
  const before = new Map<CiProvider, string[]>();
  for (const provider of CI_PROVIDERS) before.set(provider, await fleet.scaleTo(GROUPS[provider], RUNNERS));
  const jobs: QueuedJob[] = [];
  let isOver = false;
  const busy = keepBusy(jobs, () => isOver);
  const kills: Record<string, number> = {};
  for (let count = 0; count < KILLS; ) {
    await sleep(200 + chance.next() * 1_800);
    const victim = pick(Object.keys(VICTIMS)) ?? '';
    if (!(await VICTIMS[victim]?.())) continue;
    kills[victim] = (kills[victim] ?? 0) + 1;
    count += 1;
  }
  isOver = true;
  await busy;
  expect(Object.keys(kills).sort()).toEqual(Object.keys(VICTIMS).sort());

  const ended = () => jobs.filter(({ now }) => now.state === 'finished').length;
  await waitFor('all jobs to end', () => ended() === jobs.length, {
    seconds: 2 * PATIENCE_SECONDS,
    state: () => jobs.map(({ now }) => now).filter(({ state }) => state !== 'finished'),
  });
  // GitHub fails a job whose listener was killed, and its user runs it again. The others repeat it themselves.
  const lost = jobs.filter(({ provider, now }) => provider === 'gha' && now.result === 'lost');
  expect(lost.length).toBeLessThanOrEqual(kills.agent ?? 0);
  const others = jobs.filter((job) => !lost.includes(job) && job.now.result !== 'succeeded');
  expect(others.map(({ now }) => now)).toEqual([]);
  for (const _ of lost) {
    expect(await fleet.untilEnded(cloud.providers.queueJob(GROUPS.gha, 'sleep 1'))).toMatchObject({
      result: 'succeeded',
    });
  }
  // Nothing of this is a reason to replace an instance.
  for (const provider of CI_PROVIDERS) {
    expect((await fleet.inService(GROUPS[provider], RUNNERS)).sort()).toEqual(before.get(provider)?.sort());
  }

  for (const provider of CI_PROVIDERS) await fleet.setDesired(GROUPS[provider], 0);
  for (const provider of CI_PROVIDERS) await fleet.untilGone(GROUPS[provider]);
  await waitFor(
    'the sweep',
    async () => {
      await fireSchedule(cloud.clients.scheduler, cloud.schedules, 'aw-registration-sweep');
      await sleep(2_000);
      return leftBehind().length === 0;
    },
    { seconds: PATIENCE_SECONDS, state: leftBehind },
  );
  expect(cloud.gateway.functions.outcomes.all.filter(({ outcome }) => outcome === 'dead')).toEqual([]);
});

function leftBehind() {
  const { github, buildkite } = cloud.providers;
  const connected = buildkite
    .registrations()
    .filter(({ state }) => !['disconnected', 'lost'].includes(state));
  // A registration that was used up is none: the stand-in only remembers who polls with it.
  const known = github.registrations().filter(({ ghost }) => !ghost);
  return [...known, ...connected].map(({ name }) => name);
}
