import type { Group } from '../../../../shared/fleet/names.ts';
import { GROUPS } from '../fleet.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { instanceOf, reclaimDuringJob, scaleInDuringJob, scaleOutTo, untilFinished } from './runners.ts';

const RUNNERS = 2;

/** More jobs than runners: agents of these providers run one job after the other. @returns how many jobs there were */
async function jobsInARow(demo: Demo, group: Group): Promise<number> {
  const began = performance.now();
  const ids = await scaleOutTo(demo, group, RUNNERS);
  demo.log(`${ids.length} runners are in service after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const jobs = Array.from({ length: 3 * RUNNERS }, (_, count) =>
    demo.cloud.providers.queueJob(group, `echo "job ${count} on $(uname -s)" && sleep 0.5`),
  );
  await untilFinished(demo, jobs);
  const wrong = jobs.find(({ now }, count) => !now.log.includes(`job ${count} on`));
  expectThat(wrong === undefined, `the log of a job is wrong: ${wrong?.now.log}`);
  const foreign = jobs.filter((job) => !ids.includes(instanceOf(job)));
  expectThat(foreign.length === 0, `${foreign.length} jobs ran elsewhere`);
  demo.log(`${jobs.length} jobs ran on ${RUNNERS} runners`);
  return jobs.length;
}

export const buildkite: Step = {
  title: 'Buildkite: jobs and scale-in during a job',
  async run(demo) {
    const jobs = await jobsInARow(demo, GROUPS.buildkite);
    const held = await scaleInDuringJob(demo, GROUPS.buildkite, RUNNERS);
    return `0 of ${jobs + RUNNERS + 1} jobs killed, job of ${held.toFixed(1)} s finished`;
  },
};

export const circleci: Step = {
  title: 'CircleCI: jobs and Spot interruption',
  async run(demo) {
    const jobs = await jobsInARow(demo, GROUPS.circleci);
    const seconds = await reclaimDuringJob(demo, GROUPS.circleci);
    return `0 of ${jobs + RUNNERS} jobs killed, replaced after ${seconds.toFixed(1)} s`;
  },
};
