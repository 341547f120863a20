import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffSeconds } from './backoff.ts';

test('waits double, and half of each is chance', () => {
  expect([1, 2, 3, 4].map((count) => backoffSeconds(count, 0))).toEqual([1, 2, 4, 8]);
  expect([1, 2, 3, 4].map((count) => backoffSeconds(count, 0.999))).toEqual([2, 4, 8, 16]);
});

test('any wait is whole, positive and at most two minutes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5_000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (count, random) => {
        const seconds = backoffSeconds(count, random);
        expect(Number.isInteger(seconds)).toBe(true);
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(120);
      },
    ),
  );
});
