import { expect, test } from 'vitest';
import { sampleEvents } from '../../../test/support/timeline-events.ts';
import { compact, expand } from '../compact.ts';
import { foldEvents } from '../fleet.ts';
import { countsAt, phaseSeries, spansOf, sumOf, valueAt } from './series.ts';

const pageOf = (events: Parameters<typeof foldEvents>[0]) => expand(compact(foldEvents(events)));

test('every runner is in one phase at a time', () => {
  const fleet = pageOf(sampleEvents({ runners: 90, groups: 3, hours: 3 }));
  const series = phaseSeries(fleet, 0, fleet.runners.count);
  for (let t = 500; t < fleet.span; t += 37_000) {
    const counts = countsAt(series, t);
    let present = 0;
    for (let i = 0; i < fleet.runners.count; i += 1) {
      const { end } = spansOf(fleet, i);
      if ((fleet.runners.launched[i] ?? 0) <= t && t < end) present += 1;
    }
    expect(counts.busy + counts.idle + counts.booting + counts.draining).toBe(present);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThanOrEqual(0);
  }
});

test('a boot that is not finished, a boot that fails, and a runner that was there before', () => {
  const group = 'gha/a';
  const fleet = pageOf([
    { event: 'timeline', version: 1, title: '', source: '', from: 0, to: 100 },
    { event: 'launch', at: 10, runner: 'a', group },
    { event: 'launch', at: 20, runner: 'b', group },
    { event: 'drain', at: 50, runner: 'b' },
    { event: 'end', at: 60, runner: 'b' },
    { event: 'job', id: '1', name: 'x', runner: 'c', group, startedAt: 30, finishedAt: 40 },
  ]);
  const at = (id: string) => spansOf(fleet, fleet.runners.id.indexOf(id));
  expect(at('a')).toEqual({ booting: [10, 100], end: 100 });
  expect(at('b')).toEqual({ booting: [20, 50], draining: [50, 60], end: 60 });
  expect(at('c')).toEqual({ service: [0, 100], end: 100 });
});

test('sums of step functions', () => {
  const steps = (...pairs: [number, number][]) => ({
    at: Float64Array.from(pairs.map(([at]) => at)),
    value: Float64Array.from(pairs.map(([, value]) => value)),
  });
  const sum = sumOf([steps([0, 2], [10, 5]), steps([5, 1], [10, 0])]);
  expect([-1, 0, 5, 9, 10, 99].map((t) => valueAt(sum, t))).toEqual([0, 2, 3, 3, 5, 5]);
});
