import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HEARTBEAT_TIMEOUT } from '../support/auto-scaling-model.ts';
import { runScenario, type Scenario } from './scenario.ts';

/**
 * Reports are late by less than half of the heartbeat timeout. After the timeout itself Auto Scaling terminates the instance,
 * which is the purpose of the timeout.
 */
const delay = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: HEARTBEAT_TIMEOUT / 2 - 15 }));

const scenarioEvent = fc.record({
  at: fc.integer({ min: 0, max: 400 }),
  what: fc.constantFrom(...(['job-starts', 'job-ends', 'scale-in', 'breaks', 'spot', 'restart'] as const)),
});

const anyScenario: fc.Arbitrary<Scenario> = fc.record({
  min: fc.integer({ min: 0, max: 1 }),
  // A boot can end before its hook is active.
  bootSeconds: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 40 })),
  bootFails: fc.boolean(),
  events: fc.array(scenarioEvent, { maxLength: 12 }),
  faults: fc.record({
    delays: fc.array(delay, { minLength: 1, maxLength: 7 }),
    twice: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    lost: fc.array(fc.boolean(), { minLength: 1, maxLength: 3 }),
    throttled: fc.array(fc.boolean(), { maxLength: 60 }),
  }),
});

const none = { delays: [0], twice: [false], lost: [false], throttled: [false] };
const quiet: Scenario = { min: 0, bootSeconds: 5, bootFails: false, events: [], faults: none };

describe('one runner, with any history of its messages', () => {
  test('no running job is killed, nothing hangs, and nothing is dead', async () => {
    await fc.assert(
      fc.asyncProperty(anyScenario, async (scenario) => {
        const { group, queue, runner } = await runScenario(scenario);
        // No instance is terminated while its job runs: neither by a report nor because its heartbeats stopped.
        expect(group.ends.filter((end) => end.killedJob)).toEqual([]);
        // A hook ends once.
        const hooks = group.ends.map((end) => end.hook);
        expect(new Set(hooks).size).toBe(hooks.length);
        // By a report of the runner and not by a timeout: no report is lost. (A Spot reclaim ends an instance after two
        // minutes, whatever hook it waits in.)
        if (!runner.reclaimed) expect(group.ends.filter((end) => end.by === 'timeout')).toEqual([]);
        // At the end the instance is in service or terminated.
        expect(['InService', 'Terminated']).toContain(group.state);
        expect(queue.dead).toEqual([]);
        expect(queue.isEmpty).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test('a boot that fails is abandoned, one that succeeds is in service', async () => {
    await fc.assert(
      fc.asyncProperty(anyScenario, async (scenario) => {
        const { group } = await runScenario({ ...scenario, events: [] });
        const [boot] = group.ends;
        expect(boot).toMatchObject({ hook: 'aw-boot', by: scenario.bootFails ? 'ABANDON' : 'CONTINUE' });
      }),
      { numRuns: 100 },
    );
  });

  test('an instance that a scale-in selects is terminated after its job has ended', async () => {
    const { group, published } = await runScenario({
      ...quiet,
      events: [
        { at: 20, what: 'job-starts' },
        { at: 30, what: 'scale-in' },
        { at: 200, what: 'job-ends' },
      ],
    });
    expect(group.ends).toEqual([
      { hook: 'aw-boot', by: 'CONTINUE', killedJob: false },
      { hook: 'aw-drain', by: 'CONTINUE', killedJob: false },
    ]);
    expect(group.state).toBe('Terminated');
    expect(published).toEqual([]);
  });

  test('an idle instance is terminated above the minimum of the group, and not at the minimum', async () => {
    expect((await runScenario(quiet)).group.state).toBe('Terminated');
    expect((await runScenario({ ...quiet, min: 1 })).group.state).toBe('InService');
  });

  test('an instance that is terminated while it boots never takes a job', async () => {
    const { group } = await runScenario({
      ...quiet,
      bootSeconds: 30,
      events: [
        { at: 10, what: 'scale-in' },
        { at: 31, what: 'job-starts' },
      ],
    });
    expect(group.state).toBe('Terminated');
    expect(group.ends).toEqual([{ hook: 'aw-drain', by: 'CONTINUE', killedJob: false }]);
  });
});
