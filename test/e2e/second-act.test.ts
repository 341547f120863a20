import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { secondAct } from '../../scripts/local/demo/day.ts';
import { BURST_MAX, burstGroups } from '../../scripts/local/demo/fleet.ts';
import { runSteps } from '../../scripts/local/demo/run-steps.ts';
import type { Demo } from '../../scripts/local/demo/step.ts';
import { callsOfTheDay } from '../../scripts/local/demo/steps/end-of-day.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';
import { CI_PROVIDERS } from '../../shared/fleet/names.ts';

/** The second act of `npm start` in a cloud of its own, without snapshots: its checks, and some that need no table. */
let cloud: Cloud;

beforeAll(async () => {
  cloud = await startCloud({
    root: resolve(import.meta.dirname, '../..'),
    functions: ['lifecycle', 'registration', 'scaling'],
    groups: burstGroups({ idleFactor: 3 }),
    isScaled: true,
  });
});
afterAll(() => cloud?.stop());

test('forty jobs on three providers: the fleet grows from zero to its maximum and back, and no job is lost', {
  timeout: 2_400_000,
}, async () => {
  const signal = new AbortController().signal;
  // The most instances that each group had at once, draining ones left out.
  const most: Record<string, number> = {};
  const watch = setInterval(() => {
    for (const { name, instances } of cloud.autoScaling.groups()) {
      const present = instances.filter(({ state }) => !state.startsWith('Terminat')).length;
      most[name] = Math.max(most[name] ?? 0, present);
    }
  }, 50);
  const demo: Demo = {
    root: cloud.folder,
    cloud,
    snapshots: {},
    burst: [],
    log: () => {},
    waitFor: (what, probe, options) => waitFor(what, probe, { ...options, signal }),
  };
  const act = secondAct([]);
  const last = act.map(({ step }) => step);
  const plan = [...act, ...callsOfTheDay.map((step) => ({ step, after: last }))];
  const rows = await runSteps(plan, () => demo, signal);
  clearInterval(watch);
  expect(rows.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);

  expect(most).toEqual(
    Object.fromEntries(CI_PROVIDERS.map((provider) => [`aw-${provider}-burst`, BURST_MAX[provider]])),
  );
  const jobs = CI_PROVIDERS.flatMap((provider) => cloud.providers.jobs(provider));
  expect(jobs).toHaveLength(40);
  expect(jobs.filter(({ result, starts }) => result !== 'succeeded' || starts !== 1)).toEqual([]);
  // Nobody but the function and Auto Scaling changes a capacity, with the exception of the one scale-in.
  const changes = cloud.gateway.calls.all.filter(({ operation }) => operation === 'SetDesiredCapacity');
  expect(changes.filter(({ caller }) => caller === 'operator')).toHaveLength(1);
  expect(changes.filter(({ caller }) => caller === 'scaling').length).toBeGreaterThanOrEqual(3);
  // Every instance ended through its terminate hook: none was given up.
  const ended = cloud.endedActions.all.filter(({ hook }) => hook === 'aw-drain');
  expect(ended.filter(({ cause }) => cause !== 'completed')).toEqual([]);
  expect(ended.length).toBeGreaterThanOrEqual(
    Object.values(BURST_MAX).reduce((total: number, max) => total + max, 0),
  );
});
