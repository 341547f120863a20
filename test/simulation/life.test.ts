import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Life, live } from './life.ts';
import { HEARTBEAT_TIMEOUT } from './model-auto-scaling.ts';

/**
 * Reports are late by less than half of the heartbeat timeout: what is later than the timeout itself is what the timeout is
 * for, and Auto Scaling then lets the machine go whatever anybody does.
 */
const delay = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: HEARTBEAT_TIMEOUT / 2 - 15 }));

const happening = fc.record({
  at: fc.integer({ min: 0, max: 400 }),
  what: fc.constantFrom(
    ...(['job-starts', 'job-ends', 'scale-in', 'breaks', 'spot', 'rebalance', 'restart'] as const),
  ),
});

const anyLife: fc.Arbitrary<Life> = fc.record({
  min: fc.integer({ min: 0, max: 1 }),
  // A boot can be over before Auto Scaling has begun to wait for it.
  bootSeconds: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 40 })),
  bootFails: fc.boolean(),
  happenings: fc.array(happening, { maxLength: 12 }),
  travel: fc.record({
    delays: fc.array(delay, { minLength: 1, maxLength: 7 }),
    twice: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    lost: fc.array(fc.boolean(), { minLength: 1, maxLength: 3 }),
    throttled: fc.array(fc.boolean(), { maxLength: 60 }),
  }),
});

const promptly = { delays: [0], twice: [false], lost: [false], throttled: [false] };
const quiet: Life = { min: 0, bootSeconds: 5, bootFails: false, happenings: [], travel: promptly };

describe('one runner, whatever happens to its messages', () => {
  test('no running job is killed, nothing hangs, and nothing is dead', async () => {
    await fc.assert(
      fc.asyncProperty(anyLife, async (life) => {
        const { group, queue, runner } = await live(life);
        // Nobody is ever let go with a job on it: neither by a report nor because its heartbeats stopped.
        expect(group.ends.filter((end) => end.killedJob)).toEqual([]);
        // A hook ends once.
        const hooks = group.ends.map((end) => end.hook);
        expect(new Set(hooks).size).toBe(hooks.length);
        // And by the runner's word, not by a timeout: no report was lost for good. (Spot takes a machine in two minutes, with
        // or without the hook that it was in.)
        if (!runner.reclaimed) expect(group.ends.filter((end) => end.by === 'timeout')).toEqual([]);
        // In the end the machine serves or is gone.
        expect(['InService', 'Terminated']).toContain(group.state);
        expect(queue.dead).toEqual([]);
        expect(queue.isEmpty).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test('a boot that fails is abandoned, one that succeeds is in service', async () => {
    await fc.assert(
      fc.asyncProperty(anyLife, async (life) => {
        const { group } = await live({ ...life, happenings: [] });
        const [boot] = group.ends;
        expect(boot).toMatchObject({ hook: 'aw-boot', by: life.bootFails ? 'ABANDON' : 'CONTINUE' });
      }),
      { numRuns: 100 },
    );
  });

  test('a machine told to go is gone, and its job has ended before', async () => {
    const { group, published } = await live({
      ...quiet,
      happenings: [
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
    expect(published).toContain('Runner Drained');
  });

  test('an idle machine goes when the group may shrink, and stays at the minimum', async () => {
    expect((await live(quiet)).group.state).toBe('Terminated');
    expect((await live({ ...quiet, min: 1 })).group.state).toBe('InService');
  });

  test('a machine that is told to go while it boots never takes a job', async () => {
    const { group } = await live({
      ...quiet,
      bootSeconds: 30,
      happenings: [
        { at: 10, what: 'scale-in' },
        { at: 31, what: 'job-starts' },
      ],
    });
    expect(group.state).toBe('Terminated');
    expect(group.ends).toEqual([{ hook: 'aw-drain', by: 'CONTINUE', killedJob: false }]);
  });
});
