import { beforeEach, expect, test } from 'vitest';
import { envelope } from '../../test/support/sqs.ts';
import { type FakeScaling, fakeScaling, queued } from './testing/fake-scaling.ts';

let fake: FakeScaling;
beforeEach(() => {
  fake = fakeScaling();
  fake.declare('gha/default');
});

test('each source is read as often as its groups ask for', async () => {
  fake.declare('gha/often', { repository: 'often', pollsPerMinute: 3 });
  fake.declare('gha/beside', { repository: 'often' });
  fake.declare('gha/twice', { repository: 'twice', pollsPerMinute: 2 });
  expect(await fake.poll()).toMatchObject({ outcome: 'done', detail: { sources: 3, polls: 4 } });
  const times = (repository: string) =>
    fake.reads.filter((read) => read.repository === repository).map(({ at }) => at);
  expect(times('monorepo')).toEqual([0]);
  expect(times('twice')).toEqual([0, 30]);
  expect(times('often')).toEqual([0, 20, 40]);
});

test('the groups of one repository are read together', async () => {
  fake.declare('gha/large', { labels: ['large'] });
  fake.declare('gha/warming', { takesJobs: false });
  fake.declare('gha/fork', { owner: 'other' });
  await fake.poll();
  expect(fake.reads).toHaveLength(2);
});

test('workflows restrict a read only if each group of the repository names some', async () => {
  fake.declare('gha/default', { workflowIds: ['ci.yml'] });
  await fake.poll();
  fake.declare('gha/large', { workflowIds: ['9'] });
  fake.pass(60);
  await fake.poll();
  fake.declare('gha/all');
  fake.pass(60);
  await fake.poll();
  expect(fake.reads.map(({ workflows }) => workflows)).toEqual([['ci.yml'], ['ci.yml', '9'], undefined]);
});

test('a message of an earlier minute is skipped, since the next one is there', async () => {
  expect(await fake.poll({ sentAt: new Date(fake.now() - 55_000) })).toMatchObject({ reason: 'stale' });
  expect(fake.reads).toEqual([]);
});

test('two invocations never poll at once', async () => {
  fake.jobs.set('monorepo', { queued: queued(fake, 5), running: [], isComplete: true });
  const { list } = fake.deps.autoScaling;
  const outcomes: unknown[] = [];
  fake.deps.autoScaling.list = async () => {
    fake.deps.autoScaling.list = list;
    outcomes.push(await fake.poll());
    return list();
  };
  outcomes.push(await fake.poll());
  expect(outcomes).toMatchObject([{ reason: 'poll-in-progress' }, { outcome: 'done' }]);
  // An invocation that ended without a trace holds the record for less than a minute.
  fake.deps.autoScaling.list = () => Promise.reject(new Error('ended'));
  await fake.poll();
  fake.deps.autoScaling.list = list;
  expect(await fake.poll()).toMatchObject({ reason: 'poll-in-progress' });
  fake.pass(51);
  expect(await fake.poll()).toMatchObject({ outcome: 'done' });
});

test('an invocation that has lost its record ends', async () => {
  const { list } = fake.deps.autoScaling;
  fake.deps.autoScaling.list = async () => {
    fake.store.put('backlog/state.json', '{"version":1,"groups":{}}');
    return list();
  };
  expect(await fake.poll()).toMatchObject({ outcome: 'retry', reason: 'poll-lost' });
});

test('without Auto Scaling the poll is repeated, and counted', async () => {
  fake.deps.autoScaling.list = () => Promise.reject(Object.assign(new Error('x'), { name: 'Throttling' }));
  expect(await fake.poll()).toMatchObject({ outcome: 'retry', reason: 'service-unavailable' });
  expect(fake.metrics).toEqual(['ScalingFailures 1']);
});

test('a record of another format is replaced', async () => {
  fake.store.put('backlog/state.json', 'nonsense');
  expect(await fake.poll()).toMatchObject({ outcome: 'done' });
});

test('nothing is changed after the time limit of the record', async () => {
  fake.jobs.set('monorepo', { queued: queued(fake, 5), running: [], isComplete: true });
  const limit = new AbortController();
  const { describe } = fake.deps.autoScaling;
  fake.deps.autoScaling.describe = async (name) => {
    limit.abort();
    return describe(name);
  };
  await fake.poll({ signal: limit.signal });
  expect(fake.desired('gha/default')).toBe(0);
});

test('another event is dead', async () => {
  const body = envelope('aw.schedule', 'Something Else', {});
  expect(await fake.poll({ body })).toMatchObject({ outcome: 'dead', reason: 'unknown-event' });
});
