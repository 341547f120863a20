import { describe, expect, test } from 'vitest';
import { startRun } from './advance-run.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

test('a schedule takes the lock and raises the capacity', async () => {
  const warming = fakeWarming();
  expect(await startRun(SET, warming.now(), warming.deps)).toEqual({
    outcome: 'done',
    detail: { started: '2026-11-23T03:00:00.000Z', deadline: '2026-11-23T04:00:00.000Z' },
  });
  expect(await warming.run()).toMatchObject({ set: 'default', group: 'gha/warming', state: 'running' });
  expect(warming.desiredSet).toEqual([1]);
});

test('of two that fire at once one starts the run', async () => {
  const warming = fakeWarming();
  const due = warming.now();
  const outcomes = await Promise.all([1, 2, 3].map(() => startRun(SET, due, warming.deps)));
  expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
  expect(
    outcomes.filter((each) => each.outcome === 'skipped' && each.reason === 'run-in-progress'),
  ).toHaveLength(2);
  expect(warming.capacity?.desired).toBe(1);
});

test('a second copy after a crash raises the capacity', async () => {
  const warming = fakeWarming();
  const { setDesired } = warming.deps.capacity;
  warming.deps.capacity.setDesired = async () => {
    throw Object.assign(new Error('slow down'), { name: 'Throttling' });
  };
  await expect(startRun(SET, warming.now(), warming.deps)).rejects.toThrow('slow down');
  warming.deps.capacity.setDesired = setDesired;
  expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({ reason: 'run-in-progress' });
  expect(warming.desiredSet).toEqual([1]);
});

describe('a late copy of a schedule', () => {
  async function over(state: 'done' | 'failed', endedAt: string) {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.store.put('sets/default/run.json', JSON.stringify({ ...(await warming.run()), state, endedAt }));
    warming.desiredSet.length = 0;
    warming.pass(30);
    return warming;
  }

  test.each(['done', 'failed'] as const)('starts nothing after its run is %s', async (state) => {
    const warming = await over(state, '2026-11-23T03:20:00.500Z');
    const due = new Date('2026-11-23T03:00:00Z');
    expect(await startRun(SET, due, warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'late-copy',
    });
    expect(warming.desiredSet).toEqual([]);
  });

  test('nor does one that fired during that run', async () => {
    const warming = await over('done', '2026-11-23T03:20:00.500Z');
    const due = new Date('2026-11-23T03:10:00Z');
    expect(await startRun(SET, due, warming.deps)).toMatchObject({ reason: 'late-copy' });
  });

  test('nor does one whose run ended within the second', async () => {
    const warming = await over('failed', '2026-11-23T03:00:00.900Z');
    const due = new Date('2026-11-23T03:00:00Z');
    expect(await startRun(SET, due, warming.deps)).toMatchObject({ reason: 'late-copy' });
  });

  test('the next schedule is none, not even in the second in which the run ended', async () => {
    const warming = await over('done', '2026-11-23T03:20:00.500Z');
    const due = new Date('2026-11-23T03:20:00Z');
    expect(await startRun(SET, due, warming.deps)).toMatchObject({ outcome: 'done' });
  });
});

test('a run past its deadline without function and instance is replaced, and counted as failed', async () => {
  const warming = fakeWarming();
  await startRun(SET, warming.now(), warming.deps);
  warming.pass(24 * 60);
  expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({
    outcome: 'done',
    detail: { started: '2026-11-24T03:00:00.000Z' },
  });
  expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
  expect(warming.desiredSet).toEqual([1, 0, 1]);
});

test('a record that is not readable is not a lock', async () => {
  const warming = fakeWarming();
  warming.store.put('sets/default/run.json', '{"version":2,"state":"running"}');
  expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({ outcome: 'done' });
  expect(await warming.run()).toMatchObject({ version: 1, state: 'running' });
  expect(warming.warnings).toEqual(['the record of the last run is not readable']);
});

describe('the group', () => {
  test.each([
    ['no-warming-group', undefined],
    ['no-room', { min: 0, max: 0, desired: 0 }],
    ['no-room', { min: 1, max: 1, desired: 1 }],
  ])('%s: the run is failed at once, not at its deadline', async (reason, capacity) => {
    const warming = fakeWarming();
    warming.capacity = capacity;
    expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({ outcome: 'dead', reason });
    expect(await warming.run()).toMatchObject({ state: 'failed', reason });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
    expect(warming.desiredSet).toEqual([]);
  });

  test('with a minimum gets one instance more: the instances of the minimum ran the command at their boot', async () => {
    const warming = fakeWarming();
    warming.capacity = { min: 2, max: 4, desired: 2 };
    await startRun(SET, warming.now(), warming.deps);
    expect(warming.desiredSet).toEqual([3]);
  });

  test('that has its instance does not change', async () => {
    const warming = fakeWarming();
    warming.capacity = { min: 0, max: 4, desired: 2 };
    await startRun(SET, warming.now(), warming.deps);
    expect(warming.desiredSet).toEqual([]);
  });
});

test('a run with a snapshot does not raise the capacity', async () => {
  const warming = fakeWarming();
  await startRun(SET, warming.now(), warming.deps);
  warming.desiredSet.length = 0;
  warming.capacity = { min: 0, max: 1, desired: 0 };
  warming.pass(60 + 20);
  warming.save(idOf(23, 4), ['a']);
  warming.pass(-30);
  expect(await startRun(SET, new Date('2026-11-23T03:00:00Z'), warming.deps)).toMatchObject({
    reason: 'run-in-progress',
  });
  expect(warming.desiredSet).toEqual([]);
});

test('an instance that was launched while the run ended is terminated', async () => {
  const warming = fakeWarming();
  const { setDesired } = warming.deps.capacity;
  warming.deps.capacity.setDesired = async (group, desired) => {
    await setDesired(group, desired);
    if (desired !== 1) return;
    // Another invocation ends the run at this moment, after it has read the group.
    warming.store.put('sets/default/run.json', JSON.stringify({ ...(await warming.run()), state: 'done' }));
  };
  await startRun(SET, warming.now(), warming.deps);
  expect(warming.capacity?.desired).toBe(0);
});
