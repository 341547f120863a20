import { setTimeout as sleep } from 'node:timers/promises';
import { CI_PROVIDERS, type CiProvider, groupId } from '../../../../shared/fleet/names.ts';
import type { QueuedJob } from '../../ci-providers.ts';
import type { Cloud } from '../../cloud.ts';
import { fireSchedule } from '../../deploy/fire-schedule.ts';
import { BURST, BURST_MAX } from '../fleet.ts';
import { type Gate, makeGate } from '../gate.ts';
import { inService, instancesOf, linesOf, restoreOf } from '../queries.ts';
import { percentile } from '../statistics.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { groupNameOf, instanceOf, setCapacity, untilFinished } from './runners.ts';

/**
 * The second act: forty jobs arrive in two waves, and nobody sets a capacity but the function `scaling`. In its course Auto Scaling
 * scales in a busy runner, EC2 reclaims another one, and a provider is down.
 */

/**
 * Jobs of each wave, and how long one takes. Those of GitHub come first, one per runner, since its idle runners take the longest to
 * terminate.
 */
const FIRST_WAVE = { gha: 6, bk: 6, cci: 0 } as const;
const SECOND_WAVE = { gha: 0, bk: 8, cci: 20 } as const;
const JOB_SECONDS = { gha: 8, bk: 6, cci: 4 } as const;

const sum = (...counts: Readonly<Record<CiProvider, number>>[]) =>
  counts.flatMap((each) => Object.values(each)).reduce((total, count) => total + count, 0);
const JOBS = sum(FIRST_WAVE, SECOND_WAVE);
const RUNNERS = sum(BURST_MAX);

/** How long Buildkite is down at least, in milliseconds. */
const OUTAGE_MS = 10_000;

/** What the jobs of CircleCI wait at, so that each runner has one at the scale-in. One per cloud: steps run side by side. */
const gates = new WeakMap<Cloud, Promise<Gate>>();

function gateOf({ cloud }: Demo): Promise<Gate> {
  const gate = gates.get(cloud) ?? makeGate();
  gates.set(cloud, gate);
  return gate;
}

async function queueWave(demo: Demo, wave: Readonly<Record<CiProvider, number>>): Promise<QueuedJob[]> {
  const gate = await gateOf(demo);
  // Shows whether the caches of the snapshot are there, as a build would find them.
  const command = (provider: CiProvider) =>
    [
      '[ -e "$AW_WARM_DIR/node_modules/esbuild/package.json" ] && echo warm || echo cold',
      ...(provider === 'cci' ? [gate.wait] : []),
      `sleep ${JOB_SECONDS[provider]}`,
    ].join('; ');
  const jobs = CI_PROVIDERS.flatMap((provider) =>
    Array.from({ length: wave[provider] }, () =>
      demo.cloud.providers.queueJob(BURST[provider], command(provider)),
    ),
  );
  demo.burst.push(...jobs);
  const counts = CI_PROVIDERS.filter((provider) => wave[provider] > 0).map(
    (provider) => `${wave[provider]} on ${groupId(BURST[provider])}`,
  );
  demo.log(`${jobs.length} jobs arrive: ${counts.join(', ')}`);
  return jobs;
}

const burstOf = (demo: Demo, provider: CiProvider) =>
  demo.burst.filter((job) => job.provider === provider).map(({ now }) => now);

/** The Auto Scaling group of the second act on a provider, as it is now. */
function groupOf(demo: Demo, provider: CiProvider) {
  const name = groupNameOf(demo, BURST[provider]);
  const group = demo.cloud.autoScaling.groups().find((one) => one.name === name);
  if (!group) throw new Error(`there is no group ${name}`);
  return group;
}

/** Waits until `scaling` has raised the groups of these providers to their maximum. */
async function untilRaised(demo: Demo, providers: readonly CiProvider[]): Promise<void> {
  for (const provider of providers) {
    await demo.waitFor(
      `${groupId(BURST[provider])} to be raised to ${BURST_MAX[provider]}`,
      () => groupOf(demo, provider).desired === BURST_MAX[provider],
      { seconds: 300, state: () => groupOf(demo, provider).desired },
    );
    demo.log(`${groupId(BURST[provider])}: desired capacity 0 -> ${BURST_MAX[provider]}`);
  }
}

/** Nobody but the function raises the groups. */
export const firstWave: Step = {
  title: 'burst: groups grow from zero with their queues',
  async run(demo) {
    const before = CI_PROVIDERS.map((provider) => groupOf(demo, provider).desired);
    expectThat(
      before.every((desired) => desired === 0),
      `the groups begin with ${before} runners`,
    );
    const began = performance.now();
    await queueWave(demo, FIRST_WAVE);
    // Without it the next poll is that of the schedule, in less than a minute.
    await fireSchedule(demo.cloud.clients.scheduler, demo.cloud.schedules, 'aw-scaling-poll');
    await untilRaised(demo, ['gha', 'bk']);
    const raised = (performance.now() - began) / 1000;
    const isStarted = () => burstOf(demo, 'gha').filter(({ startedAt }) => startedAt !== undefined);
    await demo.waitFor('all jobs of GitHub to run', () => isStarted().length === FIRST_WAVE.gha, {
      seconds: 600,
      state: () => burstOf(demo, 'gha').map(({ state }) => state),
    });
    return `${BURST_MAX.gha + BURST_MAX.bk} runners asked for after ${raised.toFixed(1)} s, the ${FIRST_WAVE.gha} jobs of GitHub began`;
  },
};

/** The rest of the jobs, which arrive once Buildkite is down. */
export const allJobs: Step = {
  title: `burst: ${JOBS} jobs, from 0 to ${RUNNERS} runners`,
  async run(demo) {
    await demo.waitFor('the outage', () => isOut(demo), { seconds: 300 });
    await queueWave(demo, SECOND_WAVE);
    await untilRaised(demo, ['cci']);
    await untilFinished(demo, demo.burst, 900);
    const waits = demo.burst.map(({ now }) => ((now.startedAt ?? 0) - now.queuedAt) / 1000);
    const [median, most] = [50, 99].map((percent) => percentile(waits, percent).toFixed(1));
    return `queue wait p50 ${median} s, p99 ${most} s; ${demo.burst.length} succeeded, 0 killed`;
  },
};

/** Whether the stand-in of Buildkite refuses every request, or did. */
const isOut = ({ cloud }: Demo) => cloud.providers.buildkite.requests().some(({ status }) => status === 503);

export const outage: Step = {
  title: 'burst: outage of Buildkite',
  async run(demo) {
    const { providers, gateway } = demo.cloud;
    await demo.waitFor(
      'jobs on Buildkite',
      () => burstOf(demo, 'bk').some(({ state }) => state === 'running'),
      { seconds: 600, state: () => burstOf(demo, 'bk').map(({ state }) => state) },
    );
    const began = Date.now();
    providers.buildkite.behave({
      faults: [{ path: '.', effect: { kind: 'answer', status: 503, body: { message: 'down' } } }],
    });
    demo.log('Buildkite answers every request with 503');
    const before = groupOf(demo, 'bk').desired;
    // The line of one source and poll. The other sources are read and their groups raised.
    await demo.waitFor(
      'a poll that cannot read Buildkite',
      () =>
        gateway.functions.lines.all.some(
          ({ at, function: name, text }) =>
            name === 'scaling' && at.getTime() >= began && /capacity held.*503|503.*capacity held/.test(text),
        ),
      { seconds: 300 },
    );
    const held = groupOf(demo, 'bk').desired;
    expectThat(held === before, `the capacity changed from ${before} to ${held} without a backlog`);
    demo.log(`the poll holds the capacity at ${held}; the other groups are not affected`);
    await sleep(Math.max(0, OUTAGE_MS - (Date.now() - began)));
    providers.buildkite.behave({ faults: [] });
    const seconds = (Date.now() - began) / 1000;
    demo.log(`Buildkite answers again after ${seconds.toFixed(1)} s`);
    await demo.waitFor('the end of all jobs', () => demo.burst.length === JOBS, { seconds: 300 });
    const jobs = demo.burst.filter(({ provider }) => provider === 'bk');
    await untilFinished(demo, jobs, 600);
    return `${seconds.toFixed(1)} s, capacity held at ${held}, 0 of ${jobs.length} jobs killed`;
  },
};

/** Auto Scaling takes a runner while each runner of its group has a job. */
export const scaleInOfBurst: Step = {
  title: 'burst: scale-in during a job',
  async run(demo) {
    const running = () => burstOf(demo, 'cci').filter(({ state }) => state === 'running');
    await demo.waitFor('a job on each runner', () => running().length === BURST_MAX.cci, {
      seconds: 300,
      state: () => burstOf(demo, 'cci').map(({ state }) => state),
    });
    await setCapacity(demo, BURST.cci, BURST_MAX.cci - 1);
    const id = await demo.waitFor(
      'a runner that terminates',
      () => groupOf(demo, 'cci').instances.find(({ state }) => state.startsWith('Terminating'))?.id,
      { seconds: 300 },
    );
    const job = demo.burst.find((one) => instanceOf(one) === id && one.now.state === 'running');
    expectThat(job !== undefined, `${id} terminates, and runs no job`);
    demo.log(`${id} terminates, and runs a job`);
    await (await gateOf(demo)).open();
    await untilFinished(demo, [job], 300);
    await untilTerminated(demo, 'cci', id);
    return `the job of ${(((job.now.finishedAt ?? 0) - (job.now.startedAt ?? 0)) / 1000).toFixed(1)} s finished, then the runner terminated`;
  },
};

export const reclaimOfBurst: Step = {
  title: 'burst: Spot interruption during a job',
  async run(demo) {
    const job = await demo.waitFor(
      'a job on GitHub',
      () => demo.burst.find((one) => one.provider === 'gha' && one.now.state === 'running'),
      { seconds: 600, state: () => burstOf(demo, 'gha').map(({ state }) => state) },
    );
    const id = instanceOf(job);
    const known = new Set(groupOf(demo, 'gha').instances.map((instance) => instance.id));
    const began = performance.now();
    demo.cloud.autoScaling.reclaim(id);
    demo.log(`EC2 sends the interruption notice to ${id}, which runs a job`);
    await untilFinished(demo, [job], 300);
    await demo.waitFor(
      'its replacement',
      () => inService(demo, groupNameOf(demo, BURST.gha)).some((one) => !known.has(one)),
      { seconds: 300 },
    );
    const seconds = (performance.now() - began) / 1000;
    await untilTerminated(demo, 'gha', id);
    return `the job finished, replaced after ${seconds.toFixed(1)} s`;
  },
};

async function untilTerminated(demo: Demo, provider: CiProvider, id: string): Promise<void> {
  await demo.waitFor(
    `the termination of ${id}`,
    () => !groupOf(demo, provider).instances.some((instance) => instance.id === id),
    { seconds: 300, state: () => linesOf(demo, id).slice(-5) },
  );
}

/** Each runner terminates by itself when it is idle. */
export const backToMinimum: Step = {
  title: 'burst: back to the minimum',
  async run(demo) {
    const lastJob = Math.max(...demo.burst.map(({ now }) => now.finishedAt ?? 0));
    for (const provider of CI_PROVIDERS) {
      const name = groupNameOf(demo, BURST[provider]);
      await demo.waitFor(
        `the end of all runners of ${groupId(BURST[provider])}`,
        () => instancesOf(demo, name).length === 0,
        {
          seconds: 600,
          state: () => groupOf(demo, provider).instances.map(({ id }) => linesOf(demo, id).slice(-3)),
        },
      );
      demo.log(`${groupId(BURST[provider])} has no runner any more`);
      expectThat(groupOf(demo, provider).desired === 0, `${name} has no runner and wants some`);
    }
    return `0 runners ${((Date.now() - lastJob) / 1000).toFixed(1)} s after the last job`;
  },
};

/** How many boots of the burst restored a snapshot. */
export const warmShare: Step = {
  title: 'burst: warm share',
  async run(demo) {
    const groups = new Set(CI_PROVIDERS.map((provider) => groupId(BURST[provider])));
    const lines = demo.cloud.runners.lines.all.filter(({ group }) => groups.has(group));
    const boots = [...new Set(lines.map(({ instanceId }) => instanceId))].flatMap(
      (id) => restoreOf(demo, id) ?? [],
    );
    const warm = boots.filter(({ outcome }) => outcome === 'restored' || outcome === 'previous');
    const jobs = demo.burst.filter(({ now }) => /^warm$/m.test(now.log));
    const slowest = Math.max(...warm.map(({ seconds }) => seconds));
    expectThat(
      warm.length === boots.length,
      `${boots.length - warm.length} of ${boots.length} boots were cold`,
    );
    expectThat(jobs.length === JOBS, `only ${jobs.length} of ${JOBS} jobs found the caches`);
    return `${warm.length} of ${boots.length} boots, ${jobs.length} of ${JOBS} jobs; slowest restore ${slowest} s`;
  },
};
