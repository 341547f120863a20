import { beforeEach, describe, expect, test } from 'vitest';
import { ProviderError } from '../../shared/ci/provider.ts';
import { type FakeScaling, fakeScaling } from './testing/fake-scaling.ts';

/** Buildkite and CircleCI, which count jobs and do not list them. */
let fake: FakeScaling;
beforeEach(() => {
  fake = fakeScaling();
});

const queues = (counts: Record<string, [queued: number, running: number]>) => {
  fake.queues = new Map(
    Object.entries(counts).map(([queue, [queued, running]]) => [queue, { queued, running }]),
  );
};
async function minutes(count: number): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) {
    await fake.poll();
    fake.pass(60);
  }
}

test('groups of one cluster of Buildkite are read with one call', async () => {
  fake.declare('bk/default');
  fake.declare('bk/large', { queue: 'large' });
  fake.declare('bk/none', { queue: 'none' });
  fake.declare('bk/other', { tokenSecret: 'other' });
  queues({ q: [3, 0], large: [2, 0] });
  await fake.poll();
  expect(fake.reads.map(({ repository }) => repository)).toEqual(['token', 'other']);
  expect(['bk/default', 'bk/large', 'bk/none'].map(fake.desired)).toEqual([3, 2, 0]);
});

test('each group of CircleCI is read by its own secret', async () => {
  fake.declare('cci/default');
  fake.declare('cci/large', { credentialsSecret: 'large' });
  queues({ secret: [3, 0], large: [1, 0] });
  await fake.poll();
  expect(['cci/default', 'cci/large'].map(fake.desired)).toEqual([3, 1]);
});

test('jobs of draining instances, and of other fleets, need no further place', async () => {
  fake.declare('bk/default');
  fake.launch('bk/default', 3);
  fake.launch('bk/default', 2, 'Terminating:Wait');
  queues({ q: [4, 5] });
  await fake.poll();
  expect(fake.desired('bk/default')).toBe(7);
  fake.declare('bk/default');
  fake.launch('bk/default', 1);
  queues({ q: [1, 50] });
  fake.pass(60);
  await fake.poll();
  expect(fake.desired('bk/default')).toBe(2);
});

test('what one group of a queue cannot take goes to the next one', async () => {
  fake.declare('bk/a', { maxRunners: 3 });
  fake.declare('bk/b');
  fake.launch('bk/a', 1);
  fake.launch('bk/b', 1);
  queues({ q: [5, 2] });
  await fake.poll();
  expect(['bk/a', 'bk/b'].map(fake.desired)).toEqual([3, 4]);
});

describe('waits', () => {
  beforeEach(() => fake.declare('bk/default', { pollsPerMinute: 3 }));
  const times = () => fake.reads.map(({ at }) => at);

  test('no read before the time that Buildkite names', async () => {
    fake.pollSeconds = 30;
    expect(await fake.poll()).toMatchObject({ detail: { held: {} } });
    expect(times()).toEqual([0, 40]);
  });

  test('a refusal for the rate is obeyed, and counted', async () => {
    fake.queues = new ProviderError('rate-limited', 'slowly', { status: 429, afterSeconds: 50 });
    expect(await fake.poll()).toMatchObject({ detail: { held: expect.anything() } });
    expect(times()).toEqual([0]);
    expect(fake.metrics.filter((metric) => metric === 'ScalingFailures 1')).toHaveLength(3);
    queues({ q: [1, 0] });
    fake.pass(20);
    await fake.poll();
    expect(fake.desired('bk/default')).toBe(1);
  });
});

describe('unmatched jobs', () => {
  beforeEach(() => {
    fake.declare('bk/default');
    const [runner = ''] = fake.launch('bk/default', 1);
    const record = { version: 1, n: 1, at: new Date(fake.now()).toISOString() };
    fake.store.put(`registrations/${runner}.json`, JSON.stringify(record));
  });

  test('are known by their number, also after the runner has idled out', async () => {
    queues({ q: [1, 0] });
    await minutes(5);
    expect(fake.metrics).toContain('UnmatchedJobs 1 bk/default');
    fake.fleet.set('aw-bk-default', { name: 'aw-bk-default', max: 20, desired: 0, instances: [] });
    await minutes(20);
    expect(fake.desired('bk/default')).toBe(0);
    queues({ q: [4, 0] });
    await minutes(1);
    expect(fake.desired('bk/default')).toBe(3);
  });

  test('count again when one of them is taken', async () => {
    queues({ q: [3, 0] });
    await minutes(5);
    fake.fleet.set('aw-bk-default', { name: 'aw-bk-default', max: 20, desired: 0, instances: [] });
    await minutes(2);
    expect(fake.desired('bk/default')).toBe(0);
    queues({ q: [2, 1] });
    await minutes(1);
    expect(fake.desired('bk/default')).toBe(2);
  });

  test('are none as long as jobs are taken', async () => {
    for (let minute = 0; minute < 12; minute += 1) {
      // Each job is taken and has ended between two polls.
      queues({ q: [9 - (minute % 2), 0] });
      await minutes(1);
    }
    expect(fake.metrics.join()).not.toContain('Unmatched');
    expect(fake.desired('bk/default')).toBe(9);
  });
});
