import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import type { QueuedJob } from '../../ci-providers.ts';
import { DEFAULT_GROUP, GROUP } from '../fleet.ts';
import { inService, instancesOf, linesOf, restoreOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';

export async function setCapacity({ cloud }: Demo, desired: number): Promise<void> {
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName: DEFAULT_GROUP, DesiredCapacity: desired }),
  );
}

/** Enqueues one job per runner, and waits until all jobs run. */
async function occupy(demo: Demo, runners: number, seconds: number): Promise<QueuedJob[]> {
  const jobs = Array.from({ length: runners }, () =>
    demo.cloud.providers.queueJob(GROUP, `sleep ${seconds}`),
  );
  await demo.waitFor('all jobs to run', () => jobs.every(({ now }) => now.state === 'running'), {
    seconds: 30,
    state: () => jobs.map(({ now }) => now.state),
  });
  return jobs;
}

async function untilFinished(demo: Demo, jobs: readonly QueuedJob[]): Promise<void> {
  await demo.waitFor('all jobs to end', () => jobs.every(({ now }) => now.state === 'finished'), {
    seconds: 60,
  });
  const killed = jobs.filter(({ now }) => now.result !== 'succeeded');
  expectThat(killed.length === 0, `${killed.length} of ${jobs.length} jobs did not finish`);
}

const RUNNERS = 5;

export const scaleOut: Step = {
  title: 'scale-out with warm boots',
  async run(demo) {
    const began = performance.now();
    await setCapacity(demo, RUNNERS);
    demo.log('desired capacity: 0 -> 5');
    const reported = new Set<string>();
    const ids = await demo.waitFor(
      'five runners in service',
      async () => {
        const running = await inService(demo, DEFAULT_GROUP);
        for (const id of running) {
          if (reported.has(id)) continue;
          reported.add(id);
          const restore = restoreOf(demo, id);
          demo.log(`${id} is in service; restore: ${restore?.outcome}, ${restore?.seconds} s`);
        }
        return running.length === RUNNERS && running;
      },
      { seconds: 120, state: () => [...reported] },
    );
    const seconds = (performance.now() - began) / 1000;
    const restores = ids.map((id) => restoreOf(demo, id));
    const cold = restores.filter((restore) => restore?.outcome !== 'restored');
    expectThat(cold.length === 0, `${cold.length} of ${RUNNERS} runners did not restore the snapshot`);
    const slowest = Math.max(...restores.map((restore) => restore?.seconds ?? 0));
    return `${RUNNERS} of ${RUNNERS} warm after ${seconds.toFixed(1)} s, slowest restore ${slowest} s`;
  },
};

export const protectedFromScaleIn: Step = {
  title: 'scale-in during a job',
  async run(demo) {
    const jobs = await occupy(demo, RUNNERS, 6);
    await setCapacity(demo, RUNNERS - 1);
    const leaving = await demo.waitFor(
      'a runner in Terminating:Wait',
      async () =>
        (await instancesOf(demo, DEFAULT_GROUP)).find((one) => one.LifecycleState === 'Terminating:Wait'),
      { seconds: 30 },
    );
    const id = leaving.InstanceId ?? '';
    const job = jobs.find(({ now }) => now.agent?.startsWith(id))?.now;
    expectThat(job?.state === 'running', `the job on ${id} is ${job?.state}, not running`);
    demo.log(`${id} is in Terminating:Wait and runs a job`);
    const late = demo.cloud.providers.queueJob(GROUP, 'sleep 1');
    await untilFinished(demo, [...jobs]);
    await demo.waitFor(
      'the termination of the runner',
      async () => !(await instancesOf(demo, DEFAULT_GROUP)).some((one) => one.InstanceId === id),
      { seconds: 60, state: () => linesOf(demo, id).slice(-5) },
    );
    await demo.waitFor('the queued job', () => late.now.state === 'finished', { seconds: 30 });
    expectThat(late.now.agent?.startsWith(id) === false, 'the draining runner accepted another job');
    demo.log('the job finished, the runner accepted no other job, and the instance is terminated');
    const held = ((job?.finishedAt ?? 0) - (job?.startedAt ?? 0)) / 1000;
    return `0 of ${jobs.length} jobs killed, job of ${held.toFixed(1)} s finished`;
  },
};

export const spotReclaim: Step = {
  title: 'Spot interruption',
  async run(demo) {
    const runners = await inService(demo, DEFAULT_GROUP);
    const jobs = await occupy(demo, runners.length, 5);
    const id = jobs[0]?.now.agent?.replace(/-\d+$/, '') ?? '';
    const began = performance.now();
    demo.cloud.autoScaling.reclaim(id);
    demo.log(`EC2 sends the two-minute interruption notice to ${id}`);
    await untilFinished(demo, jobs);
    await demo.waitFor(
      'the replacement of the interrupted runner',
      async () => {
        const running = await inService(demo, DEFAULT_GROUP);
        return !running.includes(id) && running.length === runners.length;
      },
      { seconds: 100, state: () => linesOf(demo, id).slice(-5) },
    );
    const seconds = (performance.now() - began) / 1000;
    demo.log('the job finished; a replacement is in service');
    return `0 of ${jobs.length} jobs killed, replaced after ${seconds.toFixed(1)} s`;
  },
};
