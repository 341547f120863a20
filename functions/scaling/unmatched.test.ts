import { expect, test } from 'vitest';
import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { UNMATCHED_MS, unmatchedJobs } from './unmatched.ts';

const NOW = Date.parse('2026-11-23T08:00:00Z');
const job = (id: string, ageMs: number): QueuedJob => ({ id, labels: [], workflow: [], since: NOW - ageMs });
const old = job('old', UNMATCHED_MS);
const none = new Set<string>();

test('a job is unmatched after three minutes beside a runner that was idle for as long', () => {
  expect(unmatchedJobs([], [old], none, UNMATCHED_MS, NOW)).toEqual(['old']);
  expect(unmatchedJobs([], [job('young', UNMATCHED_MS - 1)], none, UNMATCHED_MS, NOW)).toEqual([]);
  expect(unmatchedJobs([], [old], none, UNMATCHED_MS - 1, NOW)).toEqual([]);
});

test('it stays unmatched after the runner has idled out, as long as it is queued', () => {
  expect(unmatchedJobs(['old'], [old, job('new', 0)], none, 0, NOW)).toEqual(['old']);
  expect(unmatchedJobs(['old'], [job('new', 0)], none, 0, NOW)).toEqual([]);
});

test('when one of them runs on the group, the others count again', () => {
  expect(unmatchedJobs(['old', 'taken'], [old], new Set(['taken']), 0, NOW)).toEqual([]);
  expect(unmatchedJobs(['old'], [old], new Set(['another']), 0, NOW)).toEqual(['old']);
});
