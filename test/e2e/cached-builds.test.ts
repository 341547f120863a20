import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cloud } from '../../scripts/local/cloud.ts';
import { GROUPS } from '../../scripts/local/demo/fleet.ts';
import { inService } from '../../scripts/local/demo/queries.ts';
import type { Demo } from '../../scripts/local/demo/step.ts';
import { buildCache } from '../../scripts/local/demo/steps/build-cache.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';
import { startCloud } from '../../scripts/local/start-cloud.ts';

/** The step of `npm start` about the build cache in a cloud of its own: real agents, aw-runner and `aw-cache` on two instances. */
const ROOT = resolve(import.meta.dirname, '../..');

let cloud: Cloud;

beforeAll(async () => {
  const runner = { pollSeconds: 0.5, heartbeatSeconds: 5 };
  cloud = await startCloud({
    root: ROOT,
    functions: ['lifecycle', 'registration'],
    groups: [
      { ...GROUPS.buildkite, min: 1, max: 1, runner, cache: { mode: 'write', scope: 'main' } },
      { ...GROUPS.pulls, min: 0, max: 1, runner, cache: { mode: 'read', scope: 'main' } },
    ],
  });
});
afterAll(() => cloud?.stop());

test('a build on one instance is all hits on another, also after a job there has claimed other outputs', {
  timeout: 2_400_000,
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
  await expect
    .poll(() => inService(demo, 'aw-bk-default').length, { timeout: 240_000, interval: 200 })
    .toBe(1);
  expect(await buildCache.run(demo)).toMatch(/^(\d+) of \1 hits on another instance/);
  const jobs = cloud.providers.jobs('bk');
  expect(jobs.filter(({ result }) => result !== 'succeeded')).toEqual([]);
});
