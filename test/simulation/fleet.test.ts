import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DOWN, type FleetJob, type FleetScenario, runFleet } from './fleet-model.ts';

/** So many jobs, one every so many seconds. */
const stream = (count: number, everySeconds: number, seconds: number, from = 0): FleetJob[] =>
  Array.from({ length: count }, (_, index) => ({ at: from + index * everySeconds, seconds }));

const within = (from: number, to: number) => (second: number) => second >= from && second < to;
const HOUR = 3_600;

/** Jobs of three minutes for two hours, one every 30 s: six of them run at a time. */
const steady: FleetScenario = { seconds: 3 * HOUR, max: 12, jobs: stream(240, 30, 180) };
const outage = within(HOUR / 2, HOUR / 2 + HOUR);

test('without an outage a job waits for a poll and a boot at most', async () => {
  const fleet = await runFleet(steady);
  expect(fleet.unfinished).toEqual([]);
  expect(fleet.killed).toBe(0);
  expect(fleet.longestWait).toBeLessThan(60 + 90 + 20);
  expect(fleet.present).toBe(0);
});

describe('an hour without the function scaling', () => {
  test('on a running fleet costs nothing: runners go on, and no capacity changes', async () => {
    const fleet = await runFleet({ ...steady, scaling: (second) => !outage(second) });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.killed).toBe(0);
    expect(fleet.raises.filter(({ at }) => outage(at))).toEqual([]);
    expect(fleet.present).toBe(0);
  });

  test('on an empty fleet costs queue wait and no job, and the first poll raises to the backlog and not above it', async () => {
    // The queue is empty for an hour before, so all runners have ended.
    const jobs = [...stream(5, 10, 60), ...stream(30, 60, 120, HOUR)];
    const isDown = within(HOUR, 2 * HOUR);
    const fleet = await runFleet({ seconds: 4 * HOUR, max: 20, jobs, scaling: (second) => !isDown(second) });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.killed).toBe(0);
    expect(fleet.longestWait).toBeGreaterThanOrEqual(HOUR);
    expect(fleet.longestWait).toBeLessThan(HOUR + 60 + 90 + 20 + 2 * 140);
    const after = fleet.raises.filter(({ at }) => at >= 2 * HOUR);
    expect(after[0]).toMatchObject({ at: 2 * HOUR, to: 20, backlog: 30 });
    expect(fleet.mostPresent).toBe(20);
    expect(fleet.present).toBe(0);
  });
});

describe('an hour without registration', () => {
  const down: FleetScenario = { ...steady, registration: (second) => !outage(second) };

  test('costs queue wait and no job', async () => {
    const fleet = await runFleet({ ...down, seconds: 5 * HOUR });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.killed).toBe(0);
    expect(fleet.longestWait).toBeGreaterThan(HOUR / 2);
    expect(fleet.present).toBe(0);
  });

  test('launches no more than the queue has jobs, replaces idle instances no faster than they idle out, and stays below the maximum', async () => {
    const fleet = await runFleet({ ...down, seconds: 5 * HOUR });
    expect(fleet.mostPresent).toBeLessThanOrEqual(12);
    expect(fleet.raises.filter(({ to, backlog }) => to > backlog)).toEqual([]);
    // Without registrations an instance is idle for ten minutes, and boots and polls between two of them: six per hour and place.
    const control = await runFleet(steady);
    expect(fleet.launches - control.launches).toBeLessThanOrEqual(12 * 6);
    expect(fleet.instanceSeconds).toBeLessThanOrEqual(12 * (2 * HOUR + HOUR));
  });

  test('the last jobs of a quiet group run after it, though all instances have idled out', async () => {
    for (const seconds of [20, 300]) {
      const fleet = await runFleet({
        seconds: 6 * HOUR,
        max: 12,
        // The first ones use the registrations up that the instances have.
        jobs: [...stream(4, 0, seconds, 300), ...stream(4, 10, 60, 700)],
        registration: (second) => !within(600, 600 + HOUR)(second),
      });
      expect(fleet.unfinished).toEqual([]);
      expect(fleet.longestWait).toBeLessThan(HOUR + 300);
      expect(fleet.unmatched).toBe(0);
    }
  });

  test('a group at its minimum keeps its instances, which continue at once', async () => {
    const fleet = await runFleet({ ...down, min: 12, seconds: 4 * HOUR });
    expect(fleet.launches).toBe(12);
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.present).toBe(12);
  });
});

test('an hour in which the provider does not answer: every group stays as it is, and no job is lost', async () => {
  const fleet = await runFleet({ ...steady, answer: (second, truth) => (outage(second) ? DOWN : truth) });
  expect(fleet.unfinished).toEqual([]);
  expect(fleet.killed).toBe(0);
  expect(fleet.raises.filter(({ at }) => outage(at))).toEqual([]);
  expect(fleet.held).toBe(60);
});

describe('answers of the provider that are wrong', () => {
  const nothing = { queued: [], running: [], isComplete: true };

  test('a list that is empty for ten minutes ends no runner and no job', async () => {
    const isEmpty = within(1_200, 1_800);
    const fleet = await runFleet({ ...steady, answer: (at, truth) => (isEmpty(at) ? nothing : truth) });
    expect(fleet.killed).toBe(0);
    expect(fleet.unfinished).toEqual([]);
    const control = await runFleet(steady);
    expect(fleet.launches).toBeLessThanOrEqual(control.launches + 2);
  });

  test('jobs that it reports as queued for ever cost one idle timeout, and not a fleet for ever', async () => {
    const stuck = Array.from({ length: 10 }, (_, index) => ({
      id: `stuck-${index}`,
      labels: ['linux'],
      workflow: [],
      since: Date.parse('2026-11-23T08:00:00Z'),
    }));
    const fleet = await runFleet({
      seconds: 6 * HOUR,
      max: 20,
      jobs: stream(4, 60, 120, 3 * HOUR),
      answer: (_, truth) => ({
        ...truth,
        queued: [...truth.queued, ...stuck],
      }),
    });
    // Ten for the stuck jobs, the runners of the others, and a trial every half hour.
    expect(fleet.launches).toBeLessThanOrEqual(10 + 4 + 2 * 6);
    expect(fleet.unmatched).toBeGreaterThan(100);
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.present).toBe(0);
  });

  test('a provider that assigns no job for two hours, beside idle runners: the jobs run afterwards', async () => {
    const fleet = await runFleet({
      seconds: 6 * HOUR,
      max: 5,
      jobs: stream(5, 10, 60, 100),
      assignment: (second) => !within(0, 2 * HOUR)(second),
    });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.unmatched).toBeGreaterThan(0);
    // The trials, one per half hour, and one instance per job after the one that succeeds.
    expect(fleet.launches).toBeLessThanOrEqual(5 + 4 + 5);
    expect(fleet.longestWait).toBeLessThan(2 * HOUR + 1_800 + 300);
  });

  test('a job that another runner takes before the new one is ready launches one instance, which ends idle', async () => {
    // The runner of the first job is free again when the second one has its own instance.
    const fleet = await runFleet({
      seconds: 2 * HOUR,
      max: 5,
      jobs: [
        { at: 0, seconds: 100 },
        { at: 170, seconds: 60 },
      ],
    });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.launches).toBeLessThanOrEqual(2);
    expect(fleet.present).toBe(0);
  });
});

describe('capacity', () => {
  test('that EC2 does not have for 20 minutes loses no job, and is asked for ever more slowly', async () => {
    const isShort = within(0, 1_200);
    const fleet = await runFleet({
      seconds: 2 * HOUR,
      max: 10,
      jobs: stream(8, 5, 60),
      capacity: (second) => !isShort(second),
    });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.longestWait).toBeLessThan(1_200 + 600 + 90 + 60);
    expect(fleet.launches).toBe(8);
    expect(fleet.held).toBeGreaterThan(0);
  });

  test('an instance that boots and never registers does not hold its job for ever', async () => {
    const fleet = await runFleet({
      seconds: 2 * HOUR,
      max: 5,
      jobs: [{ at: 0, seconds: 60 }],
      registration: (_, order) => order !== 0,
    });
    expect(fleet.unfinished).toEqual([]);
    // One idle timeout, a poll and a boot.
    expect(fleet.longestWait).toBeLessThan(90 + 600 + 60 + 90 + 30);
    expect(fleet.launches).toBe(2);
    expect(fleet.present).toBe(0);
  });

  test('falls by one per idle runner and not by two: what still runs keeps its place', async () => {
    const jobs = [...stream(6, 0, 60), ...stream(4, 0, 3_000)];
    const fleet = await runFleet({ seconds: 2 * HOUR, max: 10, jobs });
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.decrements).toBe(10);
    expect(fleet.launches).toBe(10);
    expect([fleet.desired, fleet.present]).toEqual([0, 0]);
  });

  test('is not raised again for the same jobs while instances boot', async () => {
    const fleet = await runFleet({ seconds: HOUR, max: 50, bootSeconds: 280, jobs: stream(20, 0, 60) });
    expect(fleet.launches).toBe(20);
    expect(fleet.unfinished).toEqual([]);
  });

  test('a draining runner does not count for the jobs that wait', async () => {
    // Each of the four drains for half an hour with its job. Two more jobs arrive meanwhile.
    const jobs = [...stream(4, 0, 1_800), ...stream(2, 0, 60, 400)];
    const fleet = await runFleet({
      seconds: 2 * HOUR,
      max: 4,
      jobs,
      scaleIn: (second) => (second === 300 ? 4 : 0),
    });
    expect(fleet.killed).toBe(0);
    expect(fleet.unfinished).toEqual([]);
    for (const { at, startedAt = Number.NaN } of fleet.jobs.slice(4))
      expect(startedAt - at).toBeLessThan(60 + 90 + 20);
    expect(fleet.raises.map(({ to }) => to)).toEqual([4, 2]);
    expect(fleet.launches).toBe(6);
  });

  test('a termination without a decrement, as for balance between zones, ends no job', async () => {
    const fleet = await runFleet({
      ...steady,
      terminations: (second) => (second % 300 === 299 && second < 2 * HOUR ? 1 : 0),
    });
    expect(fleet.killed).toBe(0);
    expect(fleet.unfinished).toEqual([]);
    expect(fleet.mostPresent).toBeLessThanOrEqual(12);
  });

  test('a factor of 2 has spare runners, a factor of 0.5 queues: neither exceeds the maximum or loses a job', async () => {
    const burst = { seconds: 2 * HOUR, max: 12, jobs: stream(10, 0, 120) };
    const [half, one, two] = await Promise.all([0.5, 1, 2].map((factor) => runFleet({ ...burst, factor })));
    expect([half, one, two].map((fleet) => fleet?.launches)).toEqual([expect.any(Number), 10, 12]);
    expect(half?.mostPresent).toBeLessThan(10);
    for (const fleet of [half, one, two]) expect(fleet?.unfinished).toEqual([]);
    expect(half?.longestWait).toBeGreaterThan(one?.longestWait ?? 0);
  });
});

test('any history: never above the maximum, no job killed, and each job runs exactly once', async () => {
  const span = fc
    .tuple(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 1_800 }))
    .map(([from, length]) => within(from, from + length));
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        min: fc.integer({ min: 0, max: 2 }),
        max: fc.integer({ min: 2, max: 8 }),
        bootSeconds: fc.integer({ min: 5, max: 200 }),
        idleTimeoutSeconds: fc.integer({ min: 60, max: 900 }),
        factor: fc.constantFrom(0.5, 1, 3),
        jobs: fc.array(
          fc.record({ at: fc.integer({ min: 0, max: 3_600 }), seconds: fc.integer({ min: 1, max: 900 }) }),
          { maxLength: 25 },
        ),
        spans: fc.tuple(span, span, span, span),
        terminated: fc.array(fc.integer({ min: 0, max: 3_600 }), { maxLength: 5 }),
      }),
      async ({ spans: [noScaling, noRegistration, noCapacity, noAnswer], terminated, ...sizes }) => {
        const fleet = await runFleet({
          ...sizes,
          seconds: 5 * HOUR,
          scaling: (second) => !noScaling(second),
          registration: (second) => !noRegistration(second),
          capacity: (second) => !noCapacity(second),
          answer: (second, truth) => (noAnswer(second) ? DOWN : truth),
          terminations: (second) => terminated.filter((at) => at === second).length,
        });
        expect(fleet.killed).toBe(0);
        expect(fleet.unfinished).toEqual([]);
        expect(fleet.mostPresent).toBeLessThanOrEqual(sizes.max);
        expect(fleet.desired).toBe(sizes.min);
        expect(fleet.present).toBe(sizes.min);
      },
    ),
    { numRuns: 25 },
  );
});
