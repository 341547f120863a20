import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type GroupSize, raiseTo } from './desired.ts';

const group = (change: Partial<GroupSize> = {}): GroupSize => ({
  min: 0,
  max: 100,
  desired: 0,
  running: 0,
  ...change,
});

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
])('%s', (_, change, queued, factor, expected) => {
  expect(raiseTo(group(change), queued, factor)).toBe(expected);
});

test('a capacity is raised only, and never above the maximum', () => {
  const count = fc.nat(1_000);
  const factors = fc.double({ min: 0.1, max: 10, noNaN: true });
  fc.assert(
    fc.property(count, count, count, count, count, factors, (min, max, desired, running, queued, factor) => {
      const target = raiseTo({ min: Math.min(min, max), max, desired, running }, queued, factor);
      if (target === undefined) return;
      expect(target).toBeGreaterThan(desired);
      expect(target).toBeLessThanOrEqual(max);
    }),
  );
});
