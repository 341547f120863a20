import type { Group } from '../../../../shared/fleet/names.ts';
import type { QueuedJob } from '../../ci-providers.ts';
import { GROUPS } from '../fleet.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { instanceOf, reclaimDuringJob, scaleInDuringJob, scaleOutTo, untilFinished } from './runners.ts';

const RUNNERS = 2;

/** Jobs per runner. */
const ROUNDS = 3;

/**
 * Jobs one after the other on the same runners. Never more of them wait than there are runners, so no poll raises the group.
 *
 * @returns how many jobs there were
 */
async function jobsInARow(demo: Demo, group: Group): Promise<number> {
  const began = performance.now();
  const ids = await scaleOutTo(demo, group, RUNNERS);
  demo.log(`${ids.length} runners are in service after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const jobs: QueuedJob[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let count = 0; count < RUNNERS; count += 1) {
      const command = `echo "job ${jobs.length} on $(uname -s)" && sleep 0.5`;
      jobs.push(demo.cloud.providers.queueJob(group, command));
    }
    await untilFinished(demo, jobs);
  }
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
    const { seconds, jobs: reclaimed } = await reclaimDuringJob(demo, GROUPS.circleci);
    return `0 of ${jobs + reclaimed} jobs killed, replaced after ${seconds.toFixed(1)} s`;
  },
};
