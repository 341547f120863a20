import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import type { Job } from '../../ci/service.ts';
import { type Chapter, type Day, expectThat } from '../day.ts';
import { DEFAULT_GROUP, QUEUE } from '../fleet.ts';
import { inService, instancesOf, linesOf, restoreOf } from '../look.ts';

export async function setCapacity({ cloud }: Day, desired: number): Promise<void> {
  await cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName: DEFAULT_GROUP, DesiredCapacity: desired }),
  );
}

/** Gives every runner a job, and waits until all of them run. */
async function occupy(day: Day, runners: number, seconds: number): Promise<Job[]> {
  const jobs = Array.from({ length: runners }, () => day.cloud.ci.enqueue(QUEUE, seconds));
  await day.until('every job to run', () => jobs.every((job) => job.state === 'running'), {
    seconds: 30,
    state: () => jobs.map((job) => job.state),
  });
  return jobs;
}

async function untilFinished(day: Day, jobs: readonly Job[]): Promise<void> {
  await day.until('every job to end', () => jobs.every((job) => job.state !== 'running'), { seconds: 60 });
  const killed = jobs.filter((job) => job.state !== 'finished');
  expectThat(killed.length === 0, `${killed.length} of ${jobs.length} jobs were killed`);
}

const RUNNERS = 5;

export const scaleOut: Chapter = {
  title: 'scale-out of five, warm boots',
  async play(day) {
    const began = performance.now();
    await setCapacity(day, RUNNERS);
    day.tell('desired capacity 0 -> 5');
    const told = new Set<string>();
    const ids = await day.until(
      'five runners in service',
      async () => {
        const there = await inService(day, DEFAULT_GROUP);
        for (const id of there) {
          if (told.has(id)) continue;
          told.add(id);
          const restore = restoreOf(day, id);
          day.tell(`${id} in service: ${restore?.outcome}, restored in ${restore?.seconds} s`);
        }
        return there.length === RUNNERS && there;
      },
      { seconds: 120, state: () => [...told] },
    );
    const seconds = (performance.now() - began) / 1000;
    const restores = ids.map((id) => restoreOf(day, id));
    const cold = restores.filter((restore) => restore?.outcome !== 'restored');
    expectThat(cold.length === 0, `${cold.length} of ${RUNNERS} runners did not restore the snapshot`);
    const slowest = Math.max(...restores.map((restore) => restore?.seconds ?? 0));
    return `${RUNNERS} of ${RUNNERS} warm, all in ${seconds.toFixed(1)} s, slowest restore ${slowest} s`;
  },
};

export const protectedFromScaleIn: Chapter = {
  title: 'scale-in waits for the job',
  async play(day) {
    const jobs = await occupy(day, RUNNERS, 6);
    await setCapacity(day, RUNNERS - 1);
    const leaving = await day.until(
      'a runner to be told to go',
      async () =>
        (await instancesOf(day, DEFAULT_GROUP)).find((one) => one.LifecycleState === 'Terminating:Wait'),
      { seconds: 30 },
    );
    const id = leaving.InstanceId ?? '';
    const job = jobs.find((one) => one.agent === id);
    expectThat(job?.state === 'running', `the job on ${id} is ${job?.state}, not running`);
    day.tell(`${id} is told to go while it runs a job; the terminate hook holds it`);
    const late = day.cloud.ci.enqueue(QUEUE, 1);
    await untilFinished(day, [...jobs]);
    await day.until(
      'the runner to go',
      async () => !(await instancesOf(day, DEFAULT_GROUP)).some((one) => one.InstanceId === id),
      { seconds: 60, state: () => linesOf(day, id).slice(-5) },
    );
    await day.until('the job behind it', () => late.state === 'finished', { seconds: 30 });
    expectThat(late.agent !== id, 'the leaving runner took another job');
    day.tell('its job finished, it took no other, and it has gone');
    const held = ((job?.endedAt?.getTime() ?? 0) - (job?.startedAt?.getTime() ?? 0)) / 1000;
    return `0 of ${jobs.length} jobs killed, job of ${held.toFixed(1)} s finished`;
  },
};

export const spotReclaim: Chapter = {
  title: 'Spot reclaim',
  async play(day) {
    const runners = await inService(day, DEFAULT_GROUP);
    const jobs = await occupy(day, runners.length, 5);
    const job = jobs[0];
    const id = job?.agent ?? '';
    const began = performance.now();
    day.cloud.autoScaling.reclaim(id);
    day.tell(`Spot takes ${id} back in two minutes`);
    await untilFinished(day, jobs);
    await day.until(
      'the reclaimed runner to be replaced',
      async () => {
        const there = await inService(day, DEFAULT_GROUP);
        return !there.includes(id) && there.length === runners.length;
      },
      { seconds: 100, state: () => linesOf(day, id).slice(-5) },
    );
    const seconds = (performance.now() - began) / 1000;
    day.tell('its job finished and a replacement is in service');
    return `0 of ${jobs.length} jobs killed, replaced after ${seconds.toFixed(1)} s`;
  },
};
