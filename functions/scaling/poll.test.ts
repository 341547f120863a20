import { beforeEach, describe, expect, test } from 'vitest';
import type { JobList } from '../../shared/ci/backlog.ts';
import { ProviderError } from '../../shared/ci/provider.ts';
import { type FakeScaling, fakeScaling, queued } from './testing/fake-scaling.ts';

let fake: FakeScaling;
beforeEach(() => {
  fake = fakeScaling();
  fake.declare('gha/default');
});

const jobs = (count: number, running: string[] = [], isComplete = true) =>
  fake.jobs.set('monorepo', {
    queued: queued(fake, count),
    running: running.map((instanceId, index) => ({ id: `running-${index}`, instanceId })),
    isComplete,
  });

test('a group grows from zero to its queued jobs', async () => {
  jobs(7);
  expect(await fake.poll()).toEqual({
    outcome: 'done',
    detail: { sources: 1, polls: 1, raised: { 'gha/default': 7 }, held: {} },
  });
  expect(fake.desired('gha/default')).toBe(7);
  expect(fake.metrics).toEqual([
    'BacklogJobs 7 gha/default',
    'OldestJobSeconds 60 gha/default',
    'ScalingFailures 0',
  ]);
});

test('only jobs on instances in service count as running', async () => {
  const busy = fake.launch('gha/default', 3);
  const draining = fake.launch('gha/default', 2, 'Terminating:Wait');
  jobs(4, [...busy, ...draining, 'i-00000000000000999']);
  await fake.poll();
  expect(fake.desired('gha/default')).toBe(7);
});

test('instances that boot are in the desired capacity already', async () => {
  jobs(5);
  await fake.poll();
  fake.pass(60);
  await fake.poll();
  expect(fake.desired('gha/default')).toBe(5);
});

describe('a read that may lack jobs', () => {
  const floor = (jobsWaiting: JobList['queued'], running: string[]) =>
    fake.jobs.set('monorepo', {
      queued: [...jobsWaiting],
      running: running.map((instanceId, index) => ({ id: `running-${index}`, instanceId })),
      isComplete: false,
    });

  test('takes an instance for busy that has passed over a queued job for three minutes', async () => {
    const [busy = ''] = fake.launch('gha/default', 5);
    floor([], [busy]);
    await fake.poll();
    fake.pass(60);
    const waiting = queued(fake, 3);
    floor(waiting, [busy]);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(5);
    fake.pass(120);
    floor(waiting, [busy]);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(8);
  });

  describe('of a group whose runners came after the job was queued', () => {
    let runners: string[];
    const sweep = (busy: readonly string[], at = fake.now()) =>
      fake.store.put(
        'registrations/sweep.json',
        JSON.stringify({ version: 2, at: new Date(at).toISOString(), withoutAgent: {}, silent: [], busy }),
      );
    beforeEach(() => {
      const waiting = queued(fake, 3);
      fake.pass(60);
      runners = fake.launch('gha/default', 5);
      floor(waiting, []);
    });

    test('takes those for busy that the provider lists as busy', async () => {
      sweep([...runners.slice(0, 4), 'i-00000000000000999']);
      await fake.poll();
      expect(fake.desired('gha/default')).toBe(7);
    });

    test('counts beside the list only jobs that were seen to wait after it: the others may run by now', async () => {
      const { queued: waiting } = fake.jobs.get('monorepo') as JobList;
      const [first, ...rest] = waiting;
      if (!first) throw new Error('no job');
      floor(
        [{ ...first, seenAt: fake.now() }, ...rest.map((job) => ({ ...job, seenAt: fake.now() - 1 }))],
        [],
      );
      sweep(runners);
      await fake.poll();
      expect(fake.desired('gha/default')).toBe(6);
    });

    test('counts one that is busy by the read and by the list once', async () => {
      const { queued: waiting } = fake.jobs.get('monorepo') as JobList;
      floor(waiting, runners.slice(0, 2));
      sweep(runners.slice(1, 4));
      await fake.poll();
      expect(fake.desired('gha/default')).toBe(7);
    });

    test.each<[string, () => void]>([
      ['there is no list', () => {}],
      ['the list is old', () => sweep(runners, fake.now() - 720_000)],
      [
        'the list is of an earlier version',
        () => {
          const at = new Date(fake.now()).toISOString();
          const old = { version: 2, at, withoutAgent: {}, silent: [] };
          fake.store.put('registrations/sweep.json', JSON.stringify(old));
        },
      ],
      ['the list cannot be parsed', () => fake.store.put('registrations/sweep.json', '{')],
    ])('takes none for busy if %s', async (_, prepare) => {
      prepare();
      await fake.poll();
      expect(fake.desired('gha/default')).toBe(5);
    });

    test('has no need of the list if the read lacks nothing', async () => {
      sweep(runners);
      const { queued: waiting } = fake.jobs.get('monorepo') as JobList;
      fake.jobs.set('monorepo', { queued: waiting, running: [], isComplete: true });
      await fake.poll();
      expect(fake.desired('gha/default')).toBe(5);
    });
  });

  test('does not make a group grow again and again for a job that no runner gets', async () => {
    const waiting = queued(fake, 1);
    for (let minutes = 0; minutes < 60; minutes += 1) {
      fake.pass(60);
      floor(waiting, []);
      await fake.poll();
      const missing = fake.desired('gha/default') - (fake.fleet.get('aw-gha-default')?.instances.length ?? 0);
      if (missing > 0) {
        const before = fake.desired('gha/default');
        fake.launch('gha/default', missing);
        const group = fake.fleet.get('aw-gha-default');
        if (group) group.desired = before;
      }
    }
    expect(fake.desired('gha/default')).toBe(1);
  });
});

test('a capacity is read again before it is raised, and never lowered', async () => {
  jobs(5);
  const { list } = fake.deps.autoScaling;
  fake.deps.autoScaling.list = async () => {
    const read = await list();
    // An operator raises the capacity between the two reads.
    const group = fake.fleet.get('aw-gha-default');
    if (group) group.desired = 9;
    return read;
  };
  expect(await fake.poll()).toMatchObject({ detail: { raised: {} } });
  expect(fake.desired('gha/default')).toBe(9);
});

describe('held', () => {
  test.each<[string, () => void]>([
    [
      'the provider does not answer',
      () => fake.jobs.set('monorepo', new ProviderError('unavailable', 'down')),
    ],
    ['the secret is not usable', () => fake.jobs.set('monorepo', new ProviderError('credential', 'no key'))],
    ['the code fails', () => fake.jobs.set('monorepo', new TypeError('bug'))],
  ])('%s: the other sources go on', async (_, fail) => {
    fake.declare('gha/other', { repository: 'other' });
    fake.launch('gha/default', 3);
    fail();
    fake.jobs.set('other', { queued: queued(fake, 2), running: [], isComplete: true });
    expect(await fake.poll()).toMatchObject({
      outcome: 'done',
      detail: {
        raised: { 'gha/other': 2 },
        held: { 'https://api.github.test acme/monorepo': expect.any(String) },
      },
    });
    expect(fake.desired('gha/default')).toBe(3);
    expect(fake.metrics).toContain('ScalingFailures 1');
  });

  test('a refused change of one group does not affect the others', async () => {
    fake.declare('gha/large', { labels: ['linux', 'large'] });
    fake.jobs.set('monorepo', {
      queued: [...queued(fake, 2), ...queued(fake, 3, ['large'], 'large')],
      running: [],
      isComplete: true,
    });
    const { setDesired } = fake.deps.autoScaling;
    fake.deps.autoScaling.setDesired = async (name, desired) => {
      if (name === 'aw-gha-default') throw new Error('ScalingActivityInProgress');
      return setDesired(name, desired);
    };
    expect(await fake.poll()).toMatchObject({
      detail: { raised: { 'gha/large': 3 }, held: { 'gha/default': 'Error: ScalingActivityInProgress' } },
    });
  });

  test('a group that is not created yet', async () => {
    fake.fleet.clear();
    expect(await fake.poll()).toMatchObject({ detail: { held: { 'gha/default': expect.any(String) } } });
  });

  test('a spent budget: GitHub is not called', async () => {
    jobs(5);
    for (let minute = 0; minute < 3; minute += 1) {
      const { takeBudget } = await import('../../shared/ci/budget.ts');
      await takeBudget('acme', 150, 'issue', { ...fake.deps, store: fake.store });
      await takeBudget('acme', 28, 'read', { ...fake.deps, store: fake.store });
      expect(await fake.poll()).toMatchObject({ detail: { raised: {} } });
      fake.pass(60);
    }
    expect(fake.reads).toEqual([]);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(5);
  });

  test('a budget that registrations use up does not keep a group from growing', async () => {
    const { takeBudget } = await import('../../shared/ci/budget.ts');
    await takeBudget('acme', 150, 'issue', { ...fake.deps, store: fake.store });
    jobs(5);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(5);
  });

  test('a refusal for the rate keeps registrations waiting too', async () => {
    const refusal = new ProviderError('rate-limited', 'no', { status: 403, afterSeconds: 120 });
    fake.jobs.set('monorepo', refusal);
    await fake.poll();
    jobs(5);
    fake.pass(60);
    await fake.poll();
    expect(fake.reads).toHaveLength(1);
    fake.pass(61);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(5);
  });
});

test('an incomplete read raises', async () => {
  jobs(5, [], false);
  await fake.poll();
  expect(fake.desired('gha/default')).toBe(5);
});

describe('a group that cannot launch', () => {
  beforeEach(() => {
    jobs(4);
    const group = fake.fleet.get('aw-gha-default');
    if (group) group.desired = 2;
    fake.failing.set('aw-gha-default', 'VcpuLimitExceeded');
  });

  test('does not grow further', async () => {
    expect(await fake.poll()).toMatchObject({
      detail: { raised: {}, held: { 'gha/default': 'Error: launches fail: VcpuLimitExceeded' } },
    });
    fake.failing.clear();
    fake.pass(60);
    await fake.poll();
    expect(fake.desired('gha/default')).toBe(4);
  });

  test('leaves its jobs to another group that can run them', async () => {
    fake.declare('gha/large', { labels: ['linux', 'large'] });
    await fake.poll();
    expect([fake.desired('gha/default'), fake.desired('gha/large')]).toEqual([2, 4]);
  });
});

describe('unmatched jobs', () => {
  const registered = (instanceId: string, change: object = { id: 7 }) =>
    fake.store.put(
      `registrations/${instanceId}.json`,
      JSON.stringify({ version: 1, n: 1, at: new Date(fake.now()).toISOString(), ...change }),
    );
  /** The present jobs, which keep their ids and times. */
  async function minutes(count: number): Promise<void> {
    for (let minute = 0; minute < count; minute += 1) {
      await fake.poll();
      fake.pass(60);
    }
  }

  test('count no more, and launch nothing again after the runner has idled out', async () => {
    jobs(2);
    const [runner = ''] = fake.launch('gha/default', 1);
    registered(runner);
    await minutes(4);
    expect(fake.metrics).toContain('UnmatchedJobs 2 gha/default');
    // The second job had started a second runner before. Both idle out.
    fake.fleet.set('aw-gha-default', { name: 'aw-gha-default', max: 20, desired: 0, instances: [] });
    // A new execution environment knows it too.
    fake.restart();
    await minutes(20);
    expect(fake.desired('gha/default')).toBe(0);
    const old = fake.jobs.get('monorepo');
    if (!old || old instanceof Error) throw new Error('no jobs');
    fake.jobs.set('monorepo', { ...old, queued: [...old.queued, ...queued(fake, 3, ['linux'], 'new')] });
    await minutes(1);
    expect(fake.desired('gha/default')).toBe(3);
  });

  test('count one by one every half hour, and all once that one runs', async () => {
    jobs(3);
    const [runner = ''] = fake.launch('gha/default', 1);
    registered(runner);
    await minutes(4);
    fake.fleet.set('aw-gha-default', { name: 'aw-gha-default', max: 20, desired: 0, instances: [] });
    await minutes(35);
    expect(fake.desired('gha/default')).toBe(1);
    const [trial = ''] = fake.launch('gha/default', 1);
    const { queued: rest = [] } = fake.jobs.get('monorepo') as { queued?: ReturnType<typeof queued> };
    fake.jobs.set('monorepo', {
      queued: rest.slice(1),
      running: [{ id: 'job-0', instanceId: trial }],
      isComplete: true,
    });
    await minutes(1);
    expect(fake.desired('gha/default')).toBe(3);
  });

  test('take no room from jobs that overflow from another group', async () => {
    fake.declare('gha/default', { maxRunners: 1 });
    fake.declare('gha/large', { labels: ['linux', 'large'], maxRunners: 3 });
    const [idle = ''] = fake.launch('gha/large', 1);
    registered(idle);
    const held = queued(fake, 2, ['linux', 'large'], 'held');
    fake.jobs.set('monorepo', { queued: held, running: [], isComplete: true });
    await minutes(4);
    expect(fake.metrics).toContain('UnmatchedJobs 2 gha/large');
    const [busy = ''] = fake.launch('gha/default', 1);
    fake.jobs.set('monorepo', {
      queued: [...held, ...queued(fake, 2, ['linux'], 'overflow')],
      running: [busy, idle].map((instanceId) => ({ id: `on ${instanceId}`, instanceId })),
      isComplete: true,
    });
    await minutes(1);
    expect(fake.desired('gha/large')).toBe(3);
  });

  describe('beside runners that end before three minutes', () => {
    /** A runner comes into service, is seen by two polls, and ends. */
    async function shortLived(change: object | undefined = { id: 7 }): Promise<void> {
      const [runner = ''] = fake.launch('gha/default', 1);
      if (change) registered(runner, change);
      await minutes(2);
      end();
      await minutes(1);
    }
    const end = () =>
      fake.fleet.set('aw-gha-default', { name: 'aw-gha-default', max: 20, desired: 0, instances: [] });

    test('count no more after a few of them', async () => {
      jobs(1);
      await minutes(2);
      end();
      await shortLived();
      expect(fake.desired('gha/default')).toBe(1);
      end();
      await shortLived();
      expect(fake.metrics).toContain('UnmatchedJobs 1 gha/default');
      expect(fake.desired('gha/default')).toBe(0);
      // Half an hour later it is tried again, and a single runner shows too little.
      await minutes(32);
      expect(fake.desired('gha/default')).toBe(1);
      end();
      await shortLived();
      expect(fake.desired('gha/default')).toBe(1);
      end();
      await shortLived();
      expect(fake.desired('gha/default')).toBe(0);
    });

    test('count as long as the runners have no registration', async () => {
      jobs(1);
      for (let round = 0; round < 6; round += 1) {
        end();
        await shortLived({});
        expect(fake.desired('gha/default')).toBe(1);
      }
    });

    test('count if they came later', async () => {
      jobs(1);
      await minutes(3);
      end();
      await shortLived();
      const old = fake.jobs.get('monorepo') as JobList;
      fake.jobs.set('monorepo', {
        queued: [...old.queued, ...queued(fake, 1, ['linux'], 'later')],
        running: [],
        isComplete: true,
      });
      end();
      await minutes(3);
      end();
      await shortLived();
      // The older one has been beside both runners, the later one beside one of them.
      expect(fake.metrics).toContain('UnmatchedJobs 1 gha/default');
      expect(fake.metrics).not.toContain('UnmatchedJobs 2 gha/default');
    });

    test('count when a runner that was without a job has got one and ends', async () => {
      jobs(1);
      await minutes(2);
      for (let round = 0; round < 4; round += 1) {
        end();
        const [runner = ''] = fake.launch('gha/default', 1);
        registered(runner);
        await minutes(1);
        const { queued: same } = fake.jobs.get('monorepo') as JobList;
        const running = [{ id: `other-${round}`, instanceId: runner }];
        fake.jobs.set('monorepo', { queued: same, running, isComplete: true });
        await minutes(1);
        fake.jobs.set('monorepo', { queued: same, running: [], isComplete: true });
        end();
        await minutes(1);
      }
      expect(fake.metrics.join()).not.toContain('Unmatched');
    });
  });

  test('are none beside a runner whose registration its last job has used up', async () => {
    const [runner = ''] = fake.launch('gha/default', 1);
    registered(runner);
    jobs(2, [runner]);
    await minutes(1);
    jobs(2);
    await minutes(10);
    expect(fake.metrics.join()).not.toContain('Unmatched');
    // The next registration is one.
    registered(runner);
    await minutes(1);
    expect(fake.metrics.join()).toContain('Unmatched');
  });

  test.each([
    ['no registration', undefined],
    ['a registration whose answer was lost', {}],
    ['a registration that was removed', { id: 7, removed: true }],
    ['a used-up registration and a request that the budget has refused', { id: 7, waiting: true }],
  ])('an idle runner with %s shows nothing', async (_, record) => {
    jobs(5);
    const [runner = ''] = fake.launch('gha/default', 1);
    if (record) registered(runner, record);
    await minutes(10);
    expect(fake.desired('gha/default')).toBe(5);
    expect(fake.metrics.join()).not.toContain('Unmatched');
  });

  test('runners between two jobs show nothing', async () => {
    const runners = fake.launch('gha/default', 2);
    for (const runner of runners) registered(runner);
    const waiting = queued(fake, 9);
    for (let minute = 0; minute < 10; minute += 1) {
      // One of the two is without a job in every read, and never the same one twice.
      const running = [{ id: `running-${minute}`, instanceId: runners[minute % 2] ?? '' }];
      fake.jobs.set('monorepo', { queued: waiting, running, isComplete: true });
      await minutes(1);
    }
    expect(fake.metrics.join()).not.toContain('Unmatched');
    expect(fake.desired('gha/default')).toBe(10);
  });

  test('a read that may lack running jobs shows nothing', async () => {
    const [runner = ''] = fake.launch('gha/default', 1);
    registered(runner);
    jobs(5, [], false);
    await minutes(10);
    expect(fake.desired('gha/default')).toBe(5);
  });
});

test('the record has the backlog of each declared group', async () => {
  jobs(2, fake.launch('gha/default', 1));
  fake.declare('gha/gone');
  await fake.poll();
  fake.groups.delete('gha/gone');
  fake.pass(60);
  await fake.poll();
  const record = JSON.parse((await fake.store.read('backlog/state.json'))?.text ?? '');
  expect(record).toEqual({
    version: 1,
    groups: {
      'gha/default': {
        queued: 2,
        running: 1,
        oldest: '2026-11-23T07:59:00.000Z',
        readAt: '2026-11-23T08:00:00.000Z',
        unmatched: [],
      },
    },
  });
});

test('the log has what each poll read; a group that has nothing any more is named once', async () => {
  fake.declare('gha/quiet');
  jobs(2, fake.launch('gha/default', 1));
  await fake.poll();
  fake.pass(60);
  const group = fake.fleet.get('aw-gha-default');
  if (group) Object.assign(group, { desired: 0, instances: [] });
  jobs(0);
  await fake.poll();
  fake.pass(60);
  await fake.poll();
  expect(fake.logged).toEqual([
    { 'gha/default': { queued: 2, running: 1, desired: 3 } },
    { 'gha/default': { queued: 0, running: 0, desired: 0 } },
  ]);
});
