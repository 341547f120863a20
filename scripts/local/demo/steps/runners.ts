import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import { autoScalingGroupName, type Group } from '../../../../shared/fleet/names.ts';
import { parseRegistrationName } from '../../../../shared/fleet/registration.ts';
import type { QueuedJob } from '../../ci-providers.ts';
import { GROUPS } from '../fleet.ts';
import { makeGate } from '../gate.ts';
import { inService, instancesOf, linesOf, restoreOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';

export const groupNameOf = (demo: Demo, group: Group) =>
  autoScalingGroupName(demo.cloud.deployment.prefix, group);

export async function setCapacity(demo: Demo, group: Group, desired: number): Promise<void> {
  const AutoScalingGroupName = groupNameOf(demo, group);
  await demo.cloud.clients.autoScaling.send(
    new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity: desired }),
  );
}

/** The instance that runs or ran a job, by the name of its agent. */
export function instanceOf(job: QueuedJob): string {
  return parseRegistrationName(job.now.agent ?? '')?.instanceId ?? '';
}

/** Scales a group out, and waits until its runners are in service. @returns their ids */
export async function scaleOutTo(
  demo: Demo,
  group: Group,
  runners: number,
  seconds = 300,
): Promise<string[]> {
  await setCapacity(demo, group, runners);
  return demo.waitFor(
    `${runners} runners of ${group.provider}/${group.name} in service`,
    () => {
      const ids = inService(demo, groupNameOf(demo, group));
      return ids.length === runners && ids;
    },
    { seconds },
  );
}

/** Queues one job per runner that takes so many seconds, and waits until all of them run. */
export async function occupy(
  demo: Demo,
  group: Group,
  runners: number,
  seconds: number,
): Promise<QueuedJob[]> {
  const { jobs, release } = await hold(demo, group, runners, seconds);
  await release();
  return jobs;
}

/** Queues one job per runner, and waits until all of them run. Each goes on for so many seconds after `release`. */
async function hold(demo: Demo, group: Group, runners: number, seconds: number) {
  // Jobs wait for the last agent, so that all of them run at once.
  const gate = await makeGate();
  const command = `${gate.wait}; sleep ${seconds}`;
  const jobs = Array.from({ length: runners }, () => demo.cloud.providers.queueJob(group, command));
  await demo.waitFor('all jobs to run', () => jobs.every(({ now }) => now.state === 'running'), {
    // The outage of Buildkite in the second act can come at the same time, and its agents then start again after up to a minute.
    seconds: 300,
    state: () => jobs.map(({ now }) => now.state),
  });
  return { jobs, release: gate.open };
}

/** Waits until the jobs have ended. @throws {StepFailed} unless all have succeeded, each on one agent */
export async function untilFinished(demo: Demo, jobs: readonly QueuedJob[], seconds = 300): Promise<void> {
  await demo.waitFor('all jobs to end', () => jobs.every(({ now }) => now.state === 'finished'), {
    seconds,
    state: () => jobs.map(({ now }) => now.state),
  });
  const killed = jobs.filter(({ now }) => now.result !== 'succeeded' || now.starts !== 1);
  expectThat(
    killed.length === 0,
    `${killed.length} of ${jobs.length} jobs did not succeed: ${killed[0]?.now.result} ${killed[0]?.now.log.slice(-200)}`,
  );
}

/** Waits until an instance is gone. */
async function untilGone(demo: Demo, group: Group, id: string, seconds: number): Promise<void> {
  await demo.waitFor(
    `the termination of ${id}`,
    () => !instancesOf(demo, groupNameOf(demo, group)).some((one) => one.id === id),
    { seconds, state: () => linesOf(demo, id).slice(-5) },
  );
}

/** Scales a group in by one while each of its runners has a job. @returns seconds of the job on the runner that left */
export async function scaleInDuringJob(demo: Demo, group: Group, runners: number): Promise<number> {
  const { jobs, release } = await hold(demo, group, runners, 5);
  await setCapacity(demo, group, runners - 1);
  const leaving = await demo.waitFor(
    'a runner in Terminating:Wait',
    () => instancesOf(demo, groupNameOf(demo, group)).find((one) => one.state === 'Terminating:Wait'),
    { seconds: 300 },
  );
  const id = leaving.id;
  const job = jobs.find((one) => instanceOf(one) === id);
  expectThat(job?.now.state === 'running', `the job on ${id} is ${job?.now.state}, not running`);
  demo.log(`${id} is in Terminating:Wait and runs a job`);
  const late = demo.cloud.providers.queueJob(group, 'sleep 1');
  await release();
  await untilFinished(demo, jobs);
  await untilGone(demo, group, id, 300);
  await untilFinished(demo, [late]);
  expectThat(instanceOf(late) !== id, 'the draining runner accepted another job');
  demo.log('the job finished, the runner accepted no other job, and the instance is terminated');
  return ((job.now.finishedAt ?? 0) - (job.now.startedAt ?? 0)) / 1000;
}

/** Waits until a group has the runners that it asks for. A poll can have raised it for a job that waited. @returns their ids */
async function untilComplete(demo: Demo, group: Group): Promise<string[]> {
  const name = groupNameOf(demo, group);
  return demo.waitFor(
    `all runners of ${name} in service`,
    () => {
      const desired = demo.cloud.autoScaling.groups().find((one) => one.name === name)?.desired;
      const ids = inService(demo, name);
      return ids.length === desired && instancesOf(demo, name).length === desired && ids;
    },
    { seconds: 300, state: () => demo.cloud.autoScaling.groups().find((one) => one.name === name)?.desired },
  );
}

/** EC2 reclaims a runner with a job. @returns seconds until its replacement is in service, and how many jobs ran meanwhile */
export async function reclaimDuringJob(demo: Demo, group: Group): Promise<{ seconds: number; jobs: number }> {
  const runners = await untilComplete(demo, group);
  const jobs = await occupy(demo, group, runners.length, 4);
  const id = instanceOf(jobs[0] as QueuedJob);
  const began = performance.now();
  demo.cloud.autoScaling.reclaim(id);
  demo.log(`EC2 sends the two-minute interruption notice to ${id}`);
  await untilFinished(demo, jobs);
  await demo.waitFor(
    'the replacement of the interrupted runner',
    () => {
      const running = inService(demo, groupNameOf(demo, group));
      return !running.includes(id) && running.length >= runners.length;
    },
    { seconds: 300, state: () => linesOf(demo, id).slice(-5) },
  );
  demo.log('the job finished; a replacement is in service');
  return { seconds: (performance.now() - began) / 1000, jobs: jobs.length };
}

/** Runners of the first act on GitHub. */
const RUNNERS = 4;

export const scaleOut: Step = {
  title: 'scale-out with warm boots',
  async run(demo) {
    const began = performance.now();
    demo.log(`desired capacity: 0 -> ${RUNNERS}`);
    const ids = await scaleOutTo(demo, GROUPS.warm, RUNNERS, 120);
    const seconds = (performance.now() - began) / 1000;
    const restores = ids.map((id) => restoreOf(demo, id));
    const cold = restores.filter((restore) => restore?.outcome !== 'restored');
    expectThat(cold.length === 0, `${cold.length} of ${RUNNERS} runners did not restore the snapshot`);
    const slowest = Math.max(...restores.map((restore) => restore?.seconds ?? 0));
    return `${RUNNERS} of ${RUNNERS} warm after ${seconds.toFixed(1)} s, slowest restore ${slowest} s`;
  },
};

export const protectedFromScaleIn: Step = {
  title: 'GitHub: scale-in during a job',
  async run(demo) {
    const held = await scaleInDuringJob(demo, GROUPS.warm, RUNNERS);
    return `0 of ${RUNNERS + 1} jobs killed, job of ${held.toFixed(1)} s finished`;
  },
};

export const spotReclaim: Step = {
  title: 'GitHub: Spot interruption during a job',
  async run(demo) {
    const { seconds, jobs } = await reclaimDuringJob(demo, GROUPS.warm);
    return `0 of ${jobs} jobs killed, replaced after ${seconds.toFixed(1)} s`;
  },
};

export const idleRelease: Step = {
  title: 'GitHub: scale-in of an idle runner',
  async run(demo) {
    const { github } = demo.cloud.providers;
    const [id = ''] = await scaleOutTo(demo, GROUPS.small, 1);
    const own = () => github.registrations().find(({ name }) => name.startsWith(id));
    await demo.waitFor('the agent', () => own()?.online, { seconds: 300 });
    const began = performance.now();
    await setCapacity(demo, GROUPS.small, 0);
    await demo.waitFor('the end of its intake', () => own()?.labels.length === 0, { seconds: 300 });
    demo.log(
      `${id} is idle: its labels are removed, and GitHub has 70 s to show a job that it had assigned before`,
    );
    await untilGone(demo, GROUPS.small, id, 300);
    expectThat(own() === undefined, 'the registration is left behind');
    return `no job lost, registration removed, terminated after ${((performance.now() - began) / 1000).toFixed(1)} s`;
  },
};
