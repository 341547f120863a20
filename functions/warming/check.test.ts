import { describe, expect, test } from 'vitest';
import { check } from './check.ts';
import { startRun } from './start-run.ts';
import { fakeWarming, idOf, SET, sha256 } from './testing/fake-warming.ts';

test('a set without anything is left alone', async () => {
  const warming = fakeWarming();
  expect(await check(SET, warming.context)).toEqual({
    outcome: 'done',
    detail: { current: null, pruned: { snapshots: 0, layers: 0 } },
  });
  expect(warming.store.keys()).toEqual([]);
  expect(warming.metrics).toEqual([]);
});

test('age and size of the current snapshot are measured', async () => {
  const warming = fakeWarming();
  warming.save(idOf(23, 2), ['12345']);
  warming.point({ current: idOf(23, 2) });
  await check(SET, warming.context);
  expect(warming.metrics).toEqual(['SnapshotAgeSeconds 3600', 'SnapshotBytes 5']);
});

describe('a run', () => {
  test('past its deadline is failed and counted once, its machine let go and its lock free', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.pass(59);
    await check(SET, warming.context);
    expect(await warming.run()).toMatchObject({ state: 'running' });
    warming.pass(1);
    expect(await check(SET, warming.context)).toMatchObject({
      outcome: 'done',
      detail: { failed: 'deadline' },
    });
    await check(SET, warming.context);
    expect(await warming.run()).toMatchObject({ state: 'failed', reason: 'deadline' });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
    expect(warming.capacity?.desired).toBe(0);
    warming.pass(1);
    expect(await startRun(SET, warming.now(), warming.context)).toMatchObject({ outcome: 'done' });
  });

  test('that many notice at once is counted once', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.pass(60);
    await Promise.all([1, 2, 3].map(() => check(SET, warming.context)));
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
  });

  test('whose only snapshot is in quarantine is not waited for', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.point({ quarantined: [{ id: idOf(23, 4), reason: 'x', at: '2026-11-23T04:00:00Z' }] });
    await check(SET, warming.context);
    expect(await warming.run()).toMatchObject({ state: 'failed', reason: 'deadline' });
  });

  test('whose machine is gone gets another one', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.capacity = { min: 0, max: 1, desired: 0 };
    await check(SET, warming.context);
    expect(warming.capacity.desired).toBe(1);
  });

  test('whose snapshot waits for its verification gets none, and is not failed meanwhile', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.capacity = { min: 0, max: 1, desired: 0 };
    warming.pass(5);
    await check(SET, warming.context);
    expect(warming.sets).toEqual([1]);
    expect(await warming.run()).toMatchObject({ state: 'running' });
  });

  test('whose snapshot is current already is over, though nobody has said so', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.point({ current: idOf(23, 4) });
    warming.pass(600);
    expect(await check(SET, warming.context)).toMatchObject({
      outcome: 'done',
      detail: { current: idOf(23, 4) },
    });
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 4) });
    expect(warming.capacity?.desired).toBe(0);
  });

  test('of a group that was deleted meanwhile is failed', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.context);
    warming.capacity = undefined;
    expect(await check(SET, warming.context)).toMatchObject({ detail: { failed: 'no-warming-group' } });
    expect(await warming.run()).toMatchObject({ state: 'failed' });
  });
});

describe('a snapshot whose event was lost', () => {
  test('is promoted when nobody can be verifying it any more, and ends its run', async () => {
    const warming = fakeWarming({ deadlineMinutes: 120 });
    const set = { ...SET, deadlineMinutes: 120 };
    await startRun(set, warming.now(), warming.context);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.pass(14);
    await check(set, warming.context);
    expect(await warming.pointer()).toBeUndefined();
    warming.pass(1);
    expect(await check(set, warming.context)).toMatchObject({
      detail: { missed: idOf(23, 4), current: idOf(23, 4) },
    });
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 4) });
    expect(warming.capacity?.desired).toBe(0);
  });

  test('and that is too large for one look is looked at again at once', async () => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['x'.repeat(9000)]);
    const { readRange } = warming.store;
    warming.store.readRange = (...range) => {
      warming.pass(4);
      return readRange(...range);
    };
    expect(await check(SET, warming.context)).toMatchObject({ outcome: 'retry', reason: 'verifying' });
  });

  test('is found behind newer ones that are broken', async () => {
    const warming = fakeWarming();
    warming.point({ current: idOf(20) });
    warming.save(idOf(20), ['a']);
    warming.save(idOf(21), ['b']);
    warming.save(idOf(22), ['c']);
    warming.corrupt('c');
    await check(SET, warming.context);
    expect(await warming.pointer()).toMatchObject({ current: idOf(20), quarantined: [{ id: idOf(22) }] });
    await check(SET, warming.context);
    expect(await warming.pointer()).toMatchObject({ current: idOf(21), previous: [idOf(20)] });
  });
});

describe('a current snapshot that is not whole is rolled back, once, without any report', () => {
  test.each([
    ['its manifest is gone', `sets/default/snapshots/${idOf(22)}/manifest.json`],
    ['a layer is gone', `sets/default/layers/${sha256('new')}.sqfs`],
  ])('%s', async (_, key) => {
    const warming = fakeWarming();
    warming.save(idOf(21), ['old']);
    warming.save(idOf(22), ['new']);
    warming.point({ current: idOf(22), previous: [idOf(21)] });
    await warming.store.remove(key);
    expect(await check(SET, warming.context)).toMatchObject({
      detail: { rolledBack: idOf(22), current: idOf(21) },
    });
    const after = await warming.pointer();
    expect(after).toMatchObject({ current: idOf(21), previous: [], quarantined: [{ id: idOf(22) }] });
    await check(SET, warming.context);
    expect(await warming.pointer()).toEqual(after);
  });

  test('but not because S3 does not answer', async () => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['new']);
    warming.point({ current: idOf(22) });
    warming.store.size = async () => {
      throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
    };
    await expect(check(SET, warming.context)).rejects.toThrow('no');
    expect((await warming.pointer())?.current).toBe(idOf(22));
  });
});

describe('pruning', () => {
  function house() {
    const warming = fakeWarming();
    for (const day of [10, 11, 20, 21, 22]) warming.save(idOf(day), ['base', `layer ${day}`]);
    warming.point({ current: idOf(22), previous: [idOf(21)] });
    return warming;
  }
  const layerOf = (text: string) => `sets/default/layers/${sha256(text)}.sqfs`;

  test('deletes what is old, and the layers that only that named', async () => {
    const warming = house();
    expect(await check(SET, warming.context)).toMatchObject({
      detail: { pruned: { snapshots: 2, layers: 2 } },
    });
    expect(warming.store.keys()).toEqual(
      [
        ...['base', 'layer 20', 'layer 21', 'layer 22'].map(layerOf),
        'sets/default/pointer.json',
        ...[20, 21, 22].map((day) => `sets/default/snapshots/${idOf(day)}/manifest.json`),
      ].sort(),
    );
    expect(await check(SET, warming.context)).toMatchObject({
      detail: { pruned: { snapshots: 0, layers: 0 } },
    });
  });

  test('waits while a run is under way', async () => {
    const warming = house();
    await startRun(SET, warming.now(), warming.context);
    expect(await check(SET, warming.context)).toMatchObject({ detail: { pruned: { snapshots: 0 } } });
  });

  test('spares every layer while a manifest cannot be read', async () => {
    const warming = house();
    warming.store.put(`sets/default/snapshots/${idOf(20)}/manifest.json`, 'x');
    expect(await check(SET, warming.context)).toMatchObject({
      detail: { pruned: { snapshots: 2, layers: 0 } },
    });
  });

  test('spares what it does not know', async () => {
    const warming = house();
    const foreign = ['sets/default/notes.txt', 'sets/default/layers/x.sqfs', 'sets/other/layers/x.sqfs', 'x'];
    for (const key of foreign) warming.store.put(key, 'x', new Date(0));
    await check(SET, warming.context);
    expect(warming.store.keys()).toEqual(expect.arrayContaining(foreign));
  });

  test('stops when S3 does not list', async () => {
    const warming = house();
    const before = warming.store.keys();
    const { list } = warming.store;
    let listings = 0;
    warming.store.list = (prefix) => {
      listings += 1;
      // The last listing of a check is that of the manifests that remain.
      if (listings === 4) throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
      return list(prefix);
    };
    await expect(check(SET, warming.context)).rejects.toThrow('no');
    expect(warming.store.keys().filter((key) => key.includes('layers'))).toEqual(
      before.filter((key) => key.includes('layers')),
    );
  });
});
