import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TimelineEvent } from './events.ts';
import { foldEvents, quantile } from './fleet.ts';

const RUNNER = { runner: 'i-1', group: 'gha/default' };
const job = (id: string, change: Partial<Extract<TimelineEvent, { event: 'job' }>> = {}): TimelineEvent => ({
  event: 'job',
  id,
  name: 'build',
  ...RUNNER,
  ...change,
});

const EVENTS: TimelineEvent[] = [
  { event: 'launch', at: 100, ...RUNNER, purchase: 'spot' },
  { event: 'restore', at: 150, ...RUNNER, outcome: 'restored', snapshot: 's1' },
  { event: 'in-service', at: 200, ...RUNNER },
  { event: 'in-service', at: 230, runner: 'i-1' },
  job('a', { queuedAt: 100, startedAt: 210, finishedAt: 300, result: 'succeeded' }),
  job('b', { queuedAt: 110, startedAt: 310, finishedAt: 400, result: 'killed' }),
  { event: 'drain', at: 390, runner: 'i-1', why: 'Spot interruption' },
  { event: 'drain', at: 392, runner: 'i-1', why: 'later' },
  { event: 'end', at: 400, runner: 'i-1' },
  { event: 'capacity', at: 90, group: 'gha/default', desired: 1 },
  { event: 'restore', at: 160, runner: 'i-2', group: 'bk/a', outcome: 'cold' },
];

test('phases, jobs and figures of a fleet', () => {
  const { groups, figures, from, to } = foldEvents(EVENTS);
  expect([from, to]).toEqual([90, 400]);
  expect(groups.map(({ id }) => id)).toEqual(['bk/a', 'gha/default']);
  const [runner] = groups[1]?.runners ?? [];
  expect(runner).toMatchObject({
    launchedAt: 100,
    inServiceAt: 200,
    drainAt: 390,
    drainWhy: 'Spot interruption',
    endedAt: 400,
    purchase: 'spot',
  });
  expect(runner?.jobs.map(({ id }) => id)).toEqual(['a', 'b']);
  expect(figures).toEqual({
    runners: 2,
    jobs: 2,
    killed: 1,
    waitP50: 110,
    waitP99: 200,
    warmShare: 0.5,
    incidents: 0,
  });
});

test('the order of the events does not matter', () => {
  const expected = foldEvents(EVENTS);
  fc.assert(
    fc.property(fc.shuffledSubarray(EVENTS, { minLength: EVENTS.length }), (events) => {
      expect(foldEvents(events)).toEqual(expected);
    }),
  );
});

describe('queued jobs', () => {
  test('are counted from the jobs of the group', () => {
    const [group] = foldEvents([
      job('a', { queuedAt: 0, startedAt: 5 }),
      job('b', { queuedAt: 0, startedAt: 9 }),
      job('c', { queuedAt: 5 }),
    ]).groups;
    expect(group?.queued).toEqual([
      [0, 2],
      [5, 2],
      [9, 1],
    ]);
  });

  test('are those that were read, where the source has them', () => {
    const [group] = foldEvents([
      job('a', { queuedAt: 0, startedAt: 5 }),
      { event: 'backlog', at: 3, group: 'gha/default', queued: 7 },
    ]).groups;
    expect(group?.queued).toEqual([[3, 7]]);
  });
});

test('two events about one job complete each other, and it counts once', () => {
  const { groups, figures } = foldEvents([
    job('a', { startedAt: 5 }),
    job('a', { queuedAt: 1, finishedAt: 9 }),
  ]);
  expect(groups[0]?.runners[0]?.jobs).toMatchObject([{ queuedAt: 1, startedAt: 5, finishedAt: 9 }]);
  expect(figures.jobs).toBe(1);
});

test('nothing', () => {
  expect(foldEvents([])).toMatchObject({ groups: [], from: 0, to: 0, figures: { runners: 0, jobs: 0 } });
  expect(foldEvents([]).figures).not.toHaveProperty('waitP50');
});

test('a quantile is the nearest rank', () => {
  const values = Array.from({ length: 100 }, (_, i) => i + 1);
  expect([quantile(values, 0.5), quantile(values, 0.99), quantile([7], 0.99), quantile([], 0.5)]).toEqual([
    50,
    99,
    7,
    undefined,
  ]);
});
