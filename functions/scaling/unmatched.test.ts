import { expect, test } from 'vitest';
import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { TRIAL_MS, UNMATCHED_MS, unmatchedJobs } from './unmatched.ts';

const NOW = Date.parse('2026-11-23T08:00:00Z');
const job = (id: string, ageMs: number): QueuedJob => ({ id, labels: [], workflow: [], since: NOW - ageMs });
const old = job('old', UNMATCHED_MS);
const read = {
  queued: [old],
  running: new Set<string>(),
  isProgress: false,
  idleMs: () => 0,
  hasIdle: false,
};
const NONE = { ids: [] };

test('a job is unmatched after three minutes beside a runner that was idle for as long', () => {
  const beside = { ...read, idleMs: () => UNMATCHED_MS, hasIdle: true };
  expect(unmatchedJobs(NONE, beside, NOW)).toEqual({ ids: ['old'], since: NOW });
  expect(unmatchedJobs(NONE, { ...beside, queued: [job('young', UNMATCHED_MS - 1)] }, NOW).ids).toEqual([]);
  expect(unmatchedJobs(NONE, { ...beside, idleMs: () => UNMATCHED_MS - 1 }, NOW).ids).toEqual([]);
});

test('it stays unmatched after the runner has idled out, as long as it is queued', () => {
  const before = { ids: ['old'], since: NOW - 1 };
  expect(unmatchedJobs(before, { ...read, queued: [old, job('new', 0)] }, NOW)).toEqual(before);
  expect(unmatchedJobs(before, { ...read, queued: [job('new', 0)] }, NOW).ids).toEqual([]);
});

test('when one of them runs on the group, or jobs of an unlisted queue are taken, the others count again', () => {
  const before = { ids: ['old', 'taken'], since: NOW - 1 };
  expect(unmatchedJobs(before, { ...read, running: new Set(['taken']) }, NOW).ids).toEqual([]);
  expect(unmatchedJobs(before, { ...read, running: new Set(['another']) }, NOW).ids).toEqual(['old']);
  expect(unmatchedJobs(before, { ...read, isProgress: true }, NOW).ids).toEqual([]);
});

test('the oldest one counts again every half hour, and if it runs, all do', () => {
  const queued = [job('younger', UNMATCHED_MS), job('oldest', 2 * UNMATCHED_MS)];
  const before = { ids: ['younger', 'oldest'], since: NOW - TRIAL_MS };
  const trial = unmatchedJobs(before, { ...read, queued }, NOW);
  expect(trial).toEqual({ ids: ['younger'], since: NOW, trial: 'oldest' });
  // Not before its time, and not while a runner is idle: that one shows that the job is still held.
  expect(unmatchedJobs(before, { ...read, queued }, NOW - 1).ids).toHaveLength(2);
  expect(unmatchedJobs(before, { ...read, queued, hasIdle: true }, NOW).ids).toHaveLength(2);
  // The next read: it counts as long as no idle runner shows the contrary.
  expect(unmatchedJobs(trial, { ...read, queued }, NOW + 60_000)).toEqual(trial);
  const isHeld = { ...read, queued, idleMs: () => UNMATCHED_MS, hasIdle: true };
  expect(unmatchedJobs(trial, isHeld, NOW + 60_000).ids).toEqual(['younger', 'oldest']);
  const runs = { ...read, queued: queued.slice(0, 1), running: new Set(['oldest']) };
  expect(unmatchedJobs(trial, runs, NOW + 60_000)).toEqual({ ids: [] });
});
