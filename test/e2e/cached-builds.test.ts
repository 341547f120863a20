import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { GROUPS } from '../../scripts/local/demo/fleet.ts';
import { inService } from '../../scripts/local/demo/queries.ts';
import type { Demo } from '../../scripts/local/demo/step.ts';
import { buildCache } from '../../scripts/local/demo/steps/build-cache.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';

/** The step of `npm start` about the build cache in a cloud of its own: real agents, aw-runner and `aw-cache`, three instances. */
const ROOT = resolve(import.meta.dirname, '../..');

let cloud: Cloud;

beforeAll(async () => {
  const runner = { pollSeconds: 0.5, heartbeatSeconds: 5 };
  cloud = await startCloud({
    root: ROOT,
    functions: ['lifecycle', 'registration'],
    groups: [
      { ...GROUPS.buildkite, min: 1, max: 1, runner, cache: { mode: 'write', scope: 'main' } },
      { ...GROUPS.warm, min: 2, max: 2, runner, cache: { mode: 'read', scope: 'main' } },
    ],
  });
});
afterAll(() => cloud?.stop());

test('a build on an instance is all hits on others, also after jobs there have claimed other outputs', {
  timeout: 900_000,
}, async () => {
  const signal = new AbortController().signal;
  const demo: Demo = {
    root: ROOT,
    cloud,
    snapshots: {},
    burst: [],
    log: () => {},
    waitFor: (what, probe, options) => waitFor(what, probe, { ...options, signal }),
  };
  for (const [name, count] of [
    ['aw-bk-default', 1],
    ['aw-gha-default', 2],
  ] as const)
    await expect.poll(() => inService(demo, name).length, { timeout: 240_000, interval: 200 }).toBe(count);
  expect(await buildCache.run(demo)).toMatch(/^2 builds on other instances: (\d+) of \1 hits/);
  // No job has failed.
  const jobs = [...cloud.providers.jobs('gha'), ...cloud.providers.jobs('bk')];
  expect(jobs.filter(({ result }) => result !== 'succeeded')).toEqual([]);
});
