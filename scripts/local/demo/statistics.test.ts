import { expect, test } from 'vitest';
import { busiestWindow, leastGap, percentile } from './statistics.ts';

test.each([
  [[7], 50, 7],
  [[3, 1, 2], 50, 2],
  [[4, 3, 2, 1], 50, 2],
  [Array.from({ length: 40 }, (_, index) => index + 1), 99, 40],
  [Array.from({ length: 100 }, (_, index) => index + 1), 99, 99],
])('of %j, %i percent are at most %i', (values, percent, expected) =>
  expect(percentile(values, percent)).toBe(expected),
);

test('a percentile of no values is an error', () => expect(() => percentile([], 50)).toThrow('no values'));

test('a window holds what is less than its length apart', () => {
  const events = [0, 500, 999, 1_000, 2_500].map((at) => ({ at, weight: 1 }));
  expect(busiestWindow(events, 1_000)).toBe(3);
  expect(busiestWindow([], 1_000)).toBe(0);
  expect(busiestWindow([...events, { at: 2_600, weight: 5 }].reverse(), 1_000)).toBe(6);
});

test('the least gap', () => {
  expect(leastGap([30, 10, 15])).toBe(5);
  expect(leastGap([30])).toBe(Number.POSITIVE_INFINITY);
});
