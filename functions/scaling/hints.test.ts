import { beforeEach, describe, expect, test } from 'vitest';
import type { HintMessage } from '../../shared/fleet/backlog-hint.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { envelope } from '../../test/support/sqs.ts';
import { type FakeScaling, fakeScaling, queued } from './testing/fake-scaling.ts';

let fake: FakeScaling;
beforeEach(() => {
  fake = fakeScaling();
  fake.declare('gha/default');
  fake.declare('gha/tools', { repository: 'tools' });
  fake.declare('bk/default');
});

const jobs = (repository: string, count: number) =>
  fake.jobs.set(repository, { queued: queued(fake, count), running: [], isComplete: true });

/** A hint as the function webhooks sends it. */
const hint = (repository: string, change: Partial<Message> & { at?: number } = {}) => {
  const { at = fake.now(), ...rest } = change;
  const body: HintMessage = {
    hint: 'Job Queued',
    about: { provider: 'gha', repository },
    at: new Date(at).toISOString(),
  };
  return fake.poll({ body, ...rest });
};

const partnerEvent = () =>
  fake.poll({ body: envelope('aws.partner/buildkite.com/acme/1', 'Job Scheduled', { job: { uuid: '1' } }) });

const readsOf = (repository: string) => fake.reads.filter((read) => read.repository === repository).length;

test('a hint makes its source read at once, and no other', async () => {
  jobs('monorepo', 3);
  expect(await hint('acme/monorepo')).toMatchObject({
    outcome: 'done',
    detail: { hinted: 1, raised: { 'gha/default': 3 }, held: {} },
  });
  expect(fake.desired('gha/default')).toBe(3);
  expect(fake.reads.map(({ repository }) => repository)).toEqual(['monorepo']);
});

test('a hint changes nothing that the source does not show', async () => {
  expect(await hint('ACME/Monorepo')).toMatchObject({ outcome: 'done', detail: { raised: {} } });
  expect(fake.desired('gha/default')).toBe(0);
});

test("a partner event of Buildkite makes the cluster's queues read", async () => {
  fake.queues = new Map([['q', { queued: 2, running: 0 }]]);
  expect(await partnerEvent()).toMatchObject({ outcome: 'done', detail: { raised: { 'bk/default': 2 } } });
});

test('a hint about no group, and one that has waited for a minute, are skipped', async () => {
  expect(await hint('acme/other')).toMatchObject({ outcome: 'skipped', reason: 'no-group' });
  const at = fake.now();
  fake.pass(55);
  expect(await hint('acme/monorepo', { at })).toMatchObject({ outcome: 'skipped', reason: 'stale' });
  expect(fake.reads).toEqual([]);
});

describe('hints cost a bounded number of reads', () => {
  test('one that was due before the latest read began is satisfied by it', async () => {
    const at = fake.now();
    fake.pass(1);
    await fake.poll();
    for (let count = 0; count < 20; count += 1)
      expect(await hint('acme/monorepo', { at })).toMatchObject({ reason: 'already-read' });
    expect(readsOf('monorepo')).toBe(1);
  });

  test('a source is read again after ten seconds at the earliest', async () => {
    await hint('acme/monorepo');
    fake.pass(4);
    const at = fake.now();
    expect(await hint('acme/monorepo', { at })).toMatchObject({
      outcome: 'retry',
      reason: 'read-recently',
      afterSeconds: 6,
    });
    fake.pass(6);
    expect(await hint('acme/monorepo', { at })).toMatchObject({ outcome: 'done' });
    expect(readsOf('monorepo')).toBe(2);
  });

  test('in a minute of hints about two sources the polls are few, whoever sends how many', async () => {
    const start = fake.now();
    let count = 0;
    while (fake.now() - start < 60_000) {
      await hint('acme/monorepo');
      await hint('acme/tools');
      fake.pass(0.1);
      count += 2;
    }
    expect(count).toBeGreaterThan(900);
    // A source at most each ten seconds, and a poll at most each three.
    expect(readsOf('monorepo')).toBeLessThanOrEqual(7);
    expect(fake.reads.length).toBeLessThanOrEqual(14);
  });

  test('hints of one batch share one poll', async () => {
    let lists = 0;
    const { list } = fake.deps.autoScaling;
    fake.deps.autoScaling.list = () => {
      lists += 1;
      return list();
    };
    const outcomes = await Promise.all([
      hint('acme/monorepo'),
      hint('acme/tools'),
      hint('acme/tools'),
      partnerEvent(),
    ]);
    expect(outcomes).toMatchObject(Array(4).fill({ outcome: 'done', detail: { hinted: 3 } }));
    expect(lists).toBe(1);
    expect(fake.reads).toHaveLength(3);
  });

  test('the interval that Buildkite names is kept', async () => {
    fake.pollSeconds = 30;
    await partnerEvent();
    fake.pass(12);
    expect(await partnerEvent()).toMatchObject({ outcome: 'retry', afterSeconds: 18 });
    expect(fake.reads).toHaveLength(1);
  });
});

describe('hints and the poll of the minute', () => {
  /** Runs while the first call of `list` lasts, which is within a poll. */
  const during = (run: () => Promise<unknown>) => {
    const { list } = fake.deps.autoScaling;
    fake.deps.autoScaling.list = async () => {
      fake.deps.autoScaling.list = list;
      await run();
      return list();
    };
  };

  test('a hint waits for the poll of a minute', async () => {
    const outcomes: unknown[] = [];
    during(async () => outcomes.push(await hint('acme/monorepo', { at: fake.now() + 1 })));
    fake.deps.memory.readAt.clear();
    expect(await fake.poll()).toMatchObject({ outcome: 'done' });
    expect(outcomes).toMatchObject([{ outcome: 'retry' }]);
  });

  test('the poll of a minute comes back after a poll because of a hint, and is not left out', async () => {
    const outcomes: unknown[] = [];
    during(async () => outcomes.push(await fake.poll()));
    expect(await hint('acme/monorepo')).toMatchObject({ outcome: 'done' });
    expect(outcomes).toMatchObject([{ outcome: 'retry', reason: 'hint-in-progress', afterSeconds: 2 }]);
    fake.pass(2);
    expect(await fake.poll()).toMatchObject({ outcome: 'done', detail: { sources: 3 } });
  });

  test('a poll because of a hint that ended without a trace holds the record for 20 s at most', async () => {
    const { list } = fake.deps.autoScaling;
    fake.deps.autoScaling.list = () => Promise.reject(new Error('ended'));
    await hint('acme/monorepo');
    fake.deps.autoScaling.list = list;
    expect(await fake.poll()).toMatchObject({ outcome: 'retry' });
    fake.pass(21);
    expect(await fake.poll()).toMatchObject({ outcome: 'done' });
  });
});

test('a message that is almost a hint is dead', async () => {
  for (const body of [
    { hint: 'Job Queued' },
    { hint: 'Job Queued', about: { provider: 'cci' }, at: new Date().toISOString() },
    {
      hint: 'Job Queued',
      about: { provider: 'gha', repository: 'x'.repeat(300) },
      at: new Date().toISOString(),
    },
    { hint: 'Job Queued', about: { provider: 'bk' }, at: 'soon' },
  ])
    expect(await fake.poll({ body })).toMatchObject({ outcome: 'dead' });
  const other = envelope('aws.partner/someone.com/x', 'Job Scheduled', {});
  expect(await fake.poll({ body: other })).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
});
