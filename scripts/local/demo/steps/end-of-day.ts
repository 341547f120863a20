import { CI_PROVIDERS } from '../../../../shared/fleet/names.ts';
import { buildkiteDefaults } from '../../ci/buildkite/model.ts';
import type { CiProviders } from '../../ci-providers.ts';
import { type ApiUsage, buildkiteUsage, circleciUsage, githubUsage } from '../api-usage.ts';
import { GROUPS } from '../fleet.ts';
import { instancesOf } from '../queries.ts';
import { type Demo, expectThat, type Step } from '../step.ts';
import { occupy, setCapacity, untilFinished } from './runners.ts';

export const jobsOfTheDay: Step = {
  title: 'jobs of the day',
  async run(demo) {
    const { cloud } = demo;
    const group = cloud.autoScaling.groups().find(({ name }) => name === 'aw-gha-default');
    const left = group?.instances.filter(({ state }) => state === 'InService').length ?? 0;
    // With a job on each runner no agent is idle, and none has to be released.
    const last = await occupy(demo, GROUPS.warm, left, 1);
    for (const one of Object.values(GROUPS)) await setCapacity(demo, one, 0);
    await untilFinished(demo, last);
    const counts = CI_PROVIDERS.map((provider) => {
      const jobs = cloud.providers.jobs(provider);
      const ran = jobs.filter(({ result, starts }) => result === 'succeeded' && starts === 1);
      return { provider, ran: ran.length, killed: jobs.length - ran.length };
    });
    const killed = counts.reduce((sum, one) => sum + one.killed, 0);
    expectThat(killed === 0, `${killed} jobs were killed`);
    return `${counts.map(({ provider, ran }) => `${provider} ${ran}`).join(', ')}; ${killed} killed`;
  },
};

export const registrationsOfTheDay: Step = {
  title: 'registrations of the day',
  async run(demo) {
    const { cloud } = demo;
    const groups = cloud.autoScaling.groups().map(({ name }) => name);
    await demo.waitFor(
      'the termination of all runners',
      () => groups.every((name) => instancesOf(demo, name).length === 0),
      { seconds: 300 },
    );
    await demo.waitFor('the removal of all registrations', () => leftBehind(demo).length === 0, {
      seconds: 300,
      state: () => leftBehind(demo),
    });
    const issued = cloud.gateway.calls.all.filter(
      ({ operation, status, parameters }) =>
        operation === 'InvokeFunctionUrl' && parameters.action === 'register' && status === 200,
    );
    return `${issued.length} issued, ${leftBehind(demo).length} left behind`;
  },
};

/** Names of the agents that a provider still knows. CircleCI registers none: its runners have the token of their class. */
function leftBehind({ cloud }: Demo): string[] {
  const { github, buildkite: bk } = cloud.providers;
  const connected = bk.registrations().filter(({ state }) => state !== 'disconnected');
  const known = github.registrations().filter(({ ghost }) => !ghost);
  return [...known, ...connected].map(({ name }) => name);
}

/** A row about the calls to one provider. @param read of its stand-in */
function callsTo(title: string, read: (providers: CiProviders) => ApiUsage): Step {
  return {
    title,
    async run({ cloud }) {
      const { text, exceeded } = read(cloud.providers);
      expectThat(exceeded.length === 0, exceeded.join(', '));
      return text;
    },
  };
}

/** Calls of the functions to each provider, against its published limits. */
export const callsOfTheDay: readonly Step[] = [
  callsTo('calls to GitHub', ({ github }) => githubUsage(github.requests())),
  callsTo('calls to Buildkite', ({ buildkite }) =>
    buildkiteUsage(buildkite.requests(), buildkiteDefaults.metricsPollSeconds),
  ),
  callsTo('calls to CircleCI', ({ circleci }) => circleciUsage(circleci.requests())),
];
