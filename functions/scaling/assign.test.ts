import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { assignJobs } from './assign.ts';

const job = (id: string, ...labels: string[]): QueuedJob => ({ id, labels, workflow: [], since: 0 });
const group = (id: string, labels: string[], room = 100, workflows: string[] = []) => ({
  id,
  labels,
  room,
  workflows,
  unmatched: new Set<string>(),
});

function counts(jobs: QueuedJob[], groups: ReturnType<typeof group>[]) {
  const { byGroup, unrunnable } = assignJobs(jobs, groups);
  return {
    ...Object.fromEntries([...byGroup].map(([id, assigned]) => [id, assigned.length])),
    none: unrunnable.length,
  };
}

test('a job counts for the group with the fewest further labels', () => {
  const groups = [group('gha/large', ['linux', 'large']), group('gha/small', ['linux'])];
  expect(counts([job('1', 'linux'), job('2', 'linux', 'large')], groups)).toEqual({
    'gha/large': 1,
    'gha/small': 1,
    none: 0,
  });
});

test('of equal groups the first by name', () => {
  expect(counts([job('1', 'linux')], [group('gha/b', ['linux']), group('gha/a', ['linux'])])).toEqual({
    'gha/a': 1,
    'gha/b': 0,
    none: 0,
  });
});

test('what a full group cannot take counts for the next one, and for the first if all are full', () => {
  const jobs = Array.from({ length: 5 }, (_, index) => job(String(index), 'linux'));
  const small = group('gha/small', ['linux'], 2);
  expect(counts(jobs, [small, group('gha/large', ['linux', 'large'], 10)])).toEqual({
    'gha/small': 2,
    'gha/large': 3,
    none: 0,
  });
  expect(counts(jobs, [small, group('gha/large', ['linux', 'large'], 1)])).toEqual({
    'gha/small': 4,
    'gha/large': 1,
    none: 0,
  });
});

test('an unmatched job stays with the group that knows it, and takes no room of the others', () => {
  const held = [job('0', 'linux'), job('1', 'linux')];
  const knowing = { ...group('gha/large', ['linux', 'large'], 3), unmatched: new Set(['0', '1']) };
  const full = group('gha/small', ['linux'], 0);
  const jobs = [...held, ...Array.from({ length: 3 }, (_, index) => job(`new-${index}`, 'linux'))];
  expect(counts(jobs, [full, knowing])).toEqual({ 'gha/small': 0, 'gha/large': 5, none: 0 });
  // The first choice gets room again, and the jobs stay where they are known.
  expect(counts(held, [{ ...full, room: 5 }, knowing])).toEqual({ 'gha/small': 0, 'gha/large': 2, none: 0 });
});

test('a group with workflows takes their jobs only', () => {
  const groups = [group('gha/a', ['linux'], 9, ['ci.yml', '7']), group('gha/b', ['linux'])];
  const of = (id: string, ...workflow: string[]): QueuedJob => ({ ...job(id, 'linux'), workflow });
  expect(counts([of('1', '3', 'ci.yml'), of('2', '7', 'x.yml'), of('3', '8', 'x.yml')], groups)).toEqual({
    'gha/a': 2,
    'gha/b': 1,
    none: 0,
  });
  expect(counts([of('3', '8', 'x.yml')], groups.slice(0, 1))).toEqual({ 'gha/a': 0, none: 1 });
});

test('a job with a label of no group is for none', () => {
  expect(counts([job('1', 'macos')], [group('gha/a', ['linux'])])).toEqual({ 'gha/a': 0, none: 1 });
});

test('every job counts exactly once, for a group that has all of its labels', () => {
  const label = fc.constantFrom('linux', 'large', 'gpu', 'arm');
  const labels = fc.uniqueArray(label, { minLength: 1 });
  fc.assert(
    fc.property(
      fc.array(labels, { maxLength: 30 }),
      fc.array(
        fc.record({
          labels,
          room: fc.integer({ min: -2, max: 5 }),
          workflows: fc.constant([]),
          unmatched: fc.uniqueArray(fc.integer({ min: 0, max: 29 }).map(String)).map((ids) => new Set(ids)),
        }),
        { maxLength: 5 },
      ),
      (jobLabels, shapes) => {
        const jobs = jobLabels.map((each, index) => job(String(index), ...each));
        const groups = shapes.map((shape, index) => ({ ...shape, id: `gha/${index}` }));
        const { byGroup, unrunnable } = assignJobs(jobs, groups);
        const all = [...[...byGroup.values()].flat(), ...unrunnable].map(({ id }) => id);
        expect(all.sort()).toEqual(jobs.map(({ id }) => id).sort());
        for (const { id, labels: has } of groups) {
          for (const each of byGroup.get(id) ?? [])
            expect(has).toEqual(expect.arrayContaining([...each.labels]));
        }
      },
    ),
  );
});
