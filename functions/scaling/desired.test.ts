import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GroupState } from './backlog.ts';
import { decide, UNMATCHED_MS } from './desired.ts';

const group = (change: Partial<GroupState> = {}): GroupState => ({
  id: 'gha/default',
  labels: ['linux'],
  min: 0,
  max: 100,
  desired: 0,
  running: 0,
  idle: 0,
  booting: 0,
  ...change,
});

describe('the desired capacity', () => {
  test.each([
    ['nothing to do', {}, 0, 1, undefined],
    ['one runner per queued job', {}, 7, 1, 7],
    ['running jobs keep their runners', { running: 10, desired: 10 }, 3, 1, 13],
    ['a factor is for queued jobs only', { running: 10, desired: 10 }, 0, 1.5, undefined],
    ['a factor is rounded up', { running: 10, desired: 10 }, 1, 1.5, 12],
    ['a factor below one', {}, 10, 0.25, 3],
    ['not above the maximum', { max: 5 }, 50, 2, 5],
    ['at least the minimum', { min: 2, desired: 1 }, 0, 1, 2],
    ['never lowered', { desired: 9 }, 1, 1, undefined],
    ['not lowered to a new maximum either', { desired: 9, max: 4 }, 20, 1, undefined],
  ])('%s', (_, change, queued, factor, raiseTo) => {
    expect(decide(group(change), queued, factor, undefined, 0).raiseTo).toBe(raiseTo);
  });

  test('is raised only, and never above the maximum', () => {
    const count = fc.nat(1_000);
    fc.assert(
      fc.property(
        count,
        count,
        count,
        count,
        count,
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        (min, max, desired, running, queued, factor) => {
          const { raiseTo } = decide(
            group({ min: Math.min(min, max), max, desired, running }),
            queued,
            factor,
            undefined,
            0,
          );
          if (raiseTo === undefined) return;
          expect(raiseTo).toBeGreaterThan(desired);
          expect(raiseTo).toBeLessThanOrEqual(max);
        },
      ),
    );
  });
});

describe('queued work beside idle runners', () => {
  const beside = group({ desired: 3, running: 1, idle: 2 });

  test('counts for three minutes, and is unmatched then', () => {
    const first = decide(beside, 5, 1, undefined, 1_000);
    expect(first).toMatchObject({ raiseTo: 6, unmatched: 0, unmatchedSince: 1_000 });
    const just = decide(beside, 5, 1, first.unmatchedSince, 1_000 + UNMATCHED_MS - 1);
    expect(just.unmatched).toBe(0);
    const late = decide(beside, 5, 1, just.unmatchedSince, 1_000 + UNMATCHED_MS);
    expect(late).toEqual({ unmatched: 5, unmatchedSince: 1_000 });
  });

  test.each([
    ['without idle runners', { ...beside, idle: 0 }, 5],
    ['without queued work', beside, 0],
  ])('the time starts anew %s', (_, state, queued) => {
    expect(decide(state, queued, 1, 1_000, 1_000 + UNMATCHED_MS).unmatchedSince).toBeUndefined();
  });

  test('a job that nobody takes starts no instance again and again', () => {
    let state = group();
    let since: number | undefined;
    let launches = 0;
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      const decision = decide(state, 1, 1, since, minute * 60_000);
      since = decision.unmatchedSince;
      if (decision.raiseTo !== undefined) launches += decision.raiseTo - state.desired;
      const desired = decision.raiseTo ?? state.desired;
      state = { ...state, desired, idle: desired };
    }
    // The first one stands beside the job. As long as it does, no other is launched.
    expect(launches).toBe(1);
  });
});
