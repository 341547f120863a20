import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clockText, durationText } from './format.ts';
import { fit, limit, ticks, toTime, toX, type View, zoom } from './scale.ts';

const view = (t0: number, t1: number): View => ({ t0, t1, left: 200, right: 1200 });

test('zooming keeps the time under the pointer and stays within the recording', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1e9 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0.01, max: 100, noNaN: true }),
      (span, share, factor) => {
        const all = fit(span);
        const before = view(all.t0, all.t1);
        const around = all.t0 + share * (all.t1 - all.t0);
        const inner = { ...before, ...zoom(before, 0.3, around, span) };
        expect(toX(inner, around)).toBeCloseTo(toX(before, around), 3);
        const { t0, t1 } = zoom(inner, factor, around, span);
        expect(t0).toBeGreaterThanOrEqual(all.t0 - 1e-3);
        expect(t1).toBeLessThanOrEqual(all.t1 + 1e-3);
        expect(t1).toBeGreaterThan(t0);
      },
    ),
  );
});

test('a view that would leave the recording is moved back', () => {
  const all = fit(1000);
  expect(limit({ t0: -500, t1: 0 }, 1000)).toEqual({ t0: all.t0, t1: all.t0 + 500 });
  expect(limit({ t0: -1e9, t1: 1e9 }, 1000)).toEqual(all);
});

test('labels are at round times of the day', () => {
  const from = Date.parse('2026-11-23T08:00:07Z');
  const { step, at } = ticks(view(0, 100_000), from, 90);
  expect(step).toBe(10_000);
  expect(at.map((t) => clockText(from + t, step))).toContain('08:00:10');
  expect(at).toHaveLength(10);
  expect(toTime(view(0, 100), toX(view(0, 100), 42))).toBeCloseTo(42);
});

test.each([
  [0, '0 ms'],
  [320, '320 ms'],
  [4_240, '4.2 s'],
  [59_960, '1 min 00 s'],
  [185_000, '3 min 05 s'],
  [7_620_000, '2 h 07 min'],
  [273_600_000, '3 d 04 h'],
  [Number.NaN, 'not known'],
])('%d ms is %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
