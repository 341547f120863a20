import { expect, test } from 'vitest';
import { sampleEvents } from '../../../test/support/timeline-events.ts';
import { compact, expand } from '../compact.ts';
import { foldEvents } from '../fleet.ts';
import { layOut, rowAt, search } from './rows.ts';

const fleet = expand(compact(foldEvents(sampleEvents({ runners: 60, groups: 3, hours: 2 }))));
const options = {
  rowHeight: 10,
  headerHeight: 50,
  collapsed: new Set<number>(),
  shown: undefined,
  group: undefined,
};

test('a header per group, then its runners', () => {
  const rows = layOut(fleet, options);
  expect(rows.item).toHaveLength(63);
  expect(rows.runners).toBe(60);
  expect([...rows.item.slice(0, 3)]).toEqual([-1, 0, 1]);
  expect(rows.top.at(-1)).toBe(3 * 50 + 60 * 10);
  expect([rowAt(rows, -1), rowAt(rows, 0), rowAt(rows, 49), rowAt(rows, 50), rowAt(rows, 69)]).toEqual([
    -1, 0, 0, 1, 2,
  ]);
  expect(rowAt(rows, 1e9)).toBe(-1);
});

test('a folded group has its header, and a chosen group is alone', () => {
  expect(layOut(fleet, { ...options, collapsed: new Set([1]) }).item).toHaveLength(43);
  expect([...layOut(fleet, { ...options, group: 2 }).item].filter((item) => item < 0)).toEqual([-3]);
});

test('a search finds instances and jobs, and hides groups without a result', () => {
  expect(search(fleet, '  ')).toBeUndefined();
  const id = fleet.runners.id[25] ?? '';
  const one = search(fleet, id.toUpperCase());
  expect(one).toMatchObject({ runnerCount: 1, jobCount: 0, jobs: undefined });
  expect([...layOut(fleet, { ...options, shown: one?.runners }).item]).toEqual([-2, 25]);
  const jobs = search(fleet, 'Postgres');
  expect(jobs?.jobCount).toBe(fleet.jobs.name.filter((name) => name.includes('postgres')).length);
  expect(jobs?.jobCount).toBeGreaterThan(0);
  // The jobs that have the text stay, the others turn pale.
  const marked = [...(jobs?.jobs ?? [])].flatMap((one, j) => (one === 1 ? [fleet.jobs.name[j]] : []));
  expect(marked).toEqual(fleet.jobs.name.filter((name) => name.includes('postgres')));
  expect(search(fleet, 'nowhere')).toMatchObject({ runnerCount: 0, jobCount: 0 });
});
