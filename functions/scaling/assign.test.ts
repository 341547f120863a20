import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignJobs } from './assign.ts';
import type { QueuedJob } from './backlog.ts';

const job = (id: string, ...labels: string[]): QueuedJob => ({ id, labels, since: 0 });
const group = (id: string, labels: string[], max = 100, running = 0) => ({ id, labels, max, running });

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
  const small = group('gha/small', ['linux'], 3, 1);
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

test('a job with a label of no group is for none', () => {
  expect(counts([job('1', 'macos')], [group('gha/a', ['linux'])])).toEqual({ 'gha/a': 0, none: 1 });
});

test('every job counts exactly once, for a group that has all of its labels', () => {
  const label = fc.constantFrom('linux', 'large', 'gpu', 'arm');
  const labels = fc.uniqueArray(label, { minLength: 1 });
  fc.assert(
    fc.property(
      fc.array(labels, { maxLength: 30 }),
      fc.array(fc.record({ labels, max: fc.nat(5), running: fc.nat(5) }), { maxLength: 5 }),
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
