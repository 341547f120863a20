import { expect, test } from 'vitest';
import { sampleEvents } from '../../test/support/timeline-events.ts';
import { compact, expand } from './compact.ts';
import { parseEvent } from './events.ts';
import { foldEvents } from './fleet.ts';

test('the page has what the fleet has', () => {
  const fleet = foldEvents(
    sampleEvents({ runners: 80, groups: 4, hours: 3 }).map((one) => parseEvent(one, 'sample')),
  );
  const page = expand(JSON.parse(JSON.stringify(compact(fleet))));
  const since = (at: number | undefined) => (at === undefined ? Number.NaN : at - fleet.from);
  let i = 0;
  let jobs = 0;
  for (const [g, group] of fleet.groups.entries()) {
    expect(page.groups[g]).toMatchObject({ id: group.id, first: i, end: i + group.runners.length });
    expect([...(page.groups[g]?.desired.at ?? [])]).toEqual(group.desired.map(([at]) => since(at)));
    expect([...(page.groups[g]?.desired.value ?? [])]).toEqual(group.desired.map(([, value]) => value));
    for (const runner of group.runners) {
      expect(page.runners.id[i]).toBe(runner.id);
      expect(page.runners.text.type[i]).toBe(runner.instanceType);
      expect(page.runners.launched[i]).toBe(since(runner.launchedAt));
      expect(page.runners.inService[i]).toBe(since(runner.inServiceAt));
      expect(page.runners.drain[i]).toBe(since(runner.drainAt));
      expect(page.runners.end[i]).toBe(since(runner.endedAt));
      expect(page.runners.restore.get(i)).toMatchObject({
        at: since(runner.restore?.at),
        outcome: runner.restore?.outcome,
        snapshot: runner.restore?.snapshot,
      });
      for (const [index, job] of runner.jobs.entries()) {
        const j = (page.runners.job[i] ?? 0) + index;
        expect([page.jobs.id[j], page.jobs.name[j], page.jobs.result[j]]).toEqual([
          job.id,
          job.name,
          job.result,
        ]);
        expect(page.jobs.started[j]).toBe(since(job.startedAt));
        expect(page.jobs.finished[j]).toBe(job.finishedAt === undefined ? page.span : since(job.finishedAt));
        expect(page.jobs.wait[j]).toBe((job.startedAt ?? 0) - (job.queuedAt ?? 0));
        jobs += 1;
      }
      i += 1;
    }
  }
  expect([i, jobs]).toEqual([80, page.jobs.id.length]);
  expect(jobs).toBeGreaterThan(200);
});

test('a long recording has its times in tenths of a second', () => {
  const fleet = foldEvents(sampleEvents({ runners: 60, groups: 2, hours: 12 }));
  const page = expand(compact(fleet));
  const runners = fleet.groups.flatMap(({ runners }) => runners);
  const jobs = runners.flatMap((runner) => runner.jobs);
  for (const [i, { launchedAt = 0 }] of runners.entries())
    expect(Math.abs((page.runners.launched[i] ?? 0) - (launchedAt - fleet.from))).toBeLessThanOrEqual(50);
  for (const [j, { startedAt = 0, finishedAt = fleet.to }] of jobs.entries()) {
    expect(Math.abs((page.jobs.started[j] ?? 0) - (startedAt - fleet.from))).toBeLessThanOrEqual(50);
    expect(Math.abs((page.jobs.finished[j] ?? 0) - (finishedAt - fleet.from))).toBeLessThanOrEqual(50);
  }
  for (const [s, { at }] of fleet.snapshots.entries())
    expect(Math.abs((page.snapshots[s]?.at ?? 0) - (at - fleet.from))).toBeLessThanOrEqual(50);
});

test('what is not known stays so', () => {
  const group = 'gha/default';
  const page = expand(
    compact(
      foldEvents([
        { event: 'launch', at: 1000, runner: 'i-1', group },
        { event: 'drain', at: 4000, runner: 'i-2', group },
        { event: 'job', id: 'a', name: 'build', runner: 'i-2', group, finishedAt: 3000 },
        { event: 'job', id: 'b', name: 'build', runner: 'i-2', group, startedAt: 3500 },
      ]),
    ),
  );
  expect([...page.runners.launched]).toEqual([0, Number.NaN]);
  expect([...page.runners.start]).toEqual([0, 0]);
  expect([...page.runners.inService]).toEqual([Number.NaN, Number.NaN]);
  expect([...page.jobs.started]).toEqual([2000, 2500]);
  expect([...page.jobs.finished]).toEqual([2000, 3000]);
  expect([...page.jobs.wait]).toEqual([Number.NaN, Number.NaN]);
  expect([...page.jobs.isOpen]).toEqual([0, 1]);
});
