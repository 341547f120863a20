import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { FakeSnapshot } from '../../shared/snapshot/testing/fake-snapshot.ts';
import { startRun } from './advance-run.ts';
import { reconcileSet } from './reconcile-set.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

test('a set without anything is left alone', async () => {
  const warming = fakeWarming();
  expect(await reconcileSet(SET, warming.deps)).toEqual({
    outcome: 'done',
    detail: { current: null, pruned: { snapshots: 0, objects: 0 } },
  });
  expect(warming.store.keys()).toEqual([]);
  expect(warming.metrics).toEqual([]);
});

test('age and size of the current snapshot are measured', async () => {
  const warming = fakeWarming();
  const { manifest } = warming.save(idOf(23, 2), ['12345']);
  warming.setPointer({ current: idOf(23, 2) });
  await reconcileSet(SET, warming.deps);
  expect(warming.metrics).toEqual([
    'SnapshotAgeSeconds 3600',
    `SnapshotBytes ${manifest.totals.storedBytes}`,
  ]);
});

describe('a run', () => {
  test('past its deadline is failed and counted once, its capacity lowered and its lock released', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(59);
    await reconcileSet(SET, warming.deps);
    expect(await warming.run()).toMatchObject({ state: 'running' });
    warming.pass(1);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      outcome: 'done',
      detail: { failed: 'deadline' },
    });
    await reconcileSet(SET, warming.deps);
    expect(await warming.run()).toMatchObject({ state: 'failed', reason: 'deadline' });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
    expect(warming.capacity?.desired).toBe(0);
    warming.pass(1);
    expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({ outcome: 'done' });
  });

  test('that many notice at once is counted once', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(60);
    await Promise.all([1, 2, 3].map(() => reconcileSet(SET, warming.deps)));
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
  });

  test('whose only snapshot is in quarantine is not waited for', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.setPointer({ quarantined: [{ id: idOf(23, 4), reason: 'x', at: '2026-11-23T04:00:00Z' }] });
    await reconcileSet(SET, warming.deps);
    expect(await warming.run()).toMatchObject({ state: 'failed', reason: 'deadline' });
  });

  test('whose instance is gone gets another one', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.capacity = { min: 0, max: 1, desired: 0 };
    await reconcileSet(SET, warming.deps);
    expect(warming.capacity.desired).toBe(1);
  });

  test('whose snapshot waits for its verification gets none, and is not failed meanwhile', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.capacity = { min: 0, max: 1, desired: 0 };
    warming.pass(5);
    await reconcileSet(SET, warming.deps);
    expect(warming.desiredSet).toEqual([1]);
    // The deadline has passed, and its snapshot exists: the run is over, and only the evaluation is still to come.
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 4) });
    expect(warming.metrics).not.toContain('WarmingRunFailures 1');
  });

  test('ends at its deadline although its snapshot cannot be verified, and pruning continues', async () => {
    const warming = fakeWarming();
    for (const day of [10, 20, 21, 22]) warming.save(idOf(day), [`layer ${day}`]);
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(50);
    warming.save(idOf(23, 3), ['new']);
    // An object is in the listing of S3 and cannot be read, again and again.
    const { readRange } = warming.store;
    warming.store.readRange = async (key, ...range) => {
      if (!key.includes(idOf(23, 3))) return readRange(key, ...range);
      throw Object.assign(new Error('no such key'), { name: 'NoSuchKey' });
    };
    warming.pass(120);
    await expect(reconcileSet(SET, warming.deps)).rejects.toMatchObject({ reason: 'object-vanished' });
    expect(warming.store.keys()).not.toContain(`sets/default/snapshots/${idOf(10)}/manifest.json`);
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 3) });
  });

  test('that ended at its deadline is failed when its snapshot turns out broken', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(59);
    warming.save('20261123T035900Z-00000003', ['base']);
    warming.corrupt('20261123T035900Z-00000003');
    warming.pass(1);
    await reconcileSet(SET, warming.deps);
    expect(await warming.run()).toMatchObject({ state: 'done' });
    warming.pass(15);
    await reconcileSet(SET, warming.deps);
    expect(await warming.run()).toMatchObject({ state: 'failed' });
    expect(warming.metrics.filter((metric) => metric === 'WarmingRunFailures 1')).toHaveLength(1);
  });

  test('whose snapshot was saved before its deadline is not failed by the next schedule', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(55);
    warming.save(idOf(23, 3), ['base']);
    warming.pass(5);
    expect(await startRun(SET, warming.now(), warming.deps)).toMatchObject({ outcome: 'done' });
    expect(warming.metrics).not.toContain('WarmingRunFailures 1');
  });

  test('whose snapshot is current already ends, although its event was lost', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.setPointer({ current: idOf(23, 4) });
    warming.pass(600);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      outcome: 'done',
      detail: { current: idOf(23, 4) },
    });
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 4) });
    expect(warming.capacity?.desired).toBe(0);
  });

  test('of a group that was deleted meanwhile is failed', async () => {
    const warming = fakeWarming();
    await startRun(SET, warming.now(), warming.deps);
    warming.capacity = undefined;
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({ detail: { failed: 'no-warming-group' } });
    expect(await warming.run()).toMatchObject({ state: 'failed' });
  });
});

describe('a snapshot whose event was lost', () => {
  test('is promoted when its event is overdue, and ends its run', async () => {
    const warming = fakeWarming({ deadlineMinutes: 120 });
    const set = { ...SET, deadlineMinutes: 120 };
    await startRun(set, warming.now(), warming.deps);
    warming.pass(60);
    warming.save(idOf(23, 4), ['base']);
    warming.pass(14);
    await reconcileSet(set, warming.deps);
    expect(await warming.pointer()).toBeUndefined();
    warming.pass(1);
    expect(await reconcileSet(set, warming.deps)).toMatchObject({
      detail: { missed: idOf(23, 4), current: idOf(23, 4) },
    });
    expect(await warming.run()).toMatchObject({ state: 'done', snapshot: idOf(23, 4) });
    expect(warming.capacity?.desired).toBe(0);
  });

  test('is promoted although a newer one has a format that this version does not read', async () => {
    const warming = fakeWarming();
    warming.save(idOf(21), ['base']);
    warming.save(idOf(22), ['base'], { manifest: { formatVersion: 3 } });
    await reconcileSet(SET, warming.deps);
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('is found behind newer ones that are broken', async () => {
    const warming = fakeWarming();
    warming.save(idOf(20), ['a']);
    warming.setPointer({ current: idOf(20) });
    warming.save(idOf(21), ['b']);
    warming.save(idOf(22), ['c']);
    warming.corrupt(idOf(22));
    await reconcileSet(SET, warming.deps);
    expect(await warming.pointer()).toMatchObject({ current: idOf(20), quarantined: [{ id: idOf(22) }] });
    await reconcileSet(SET, warming.deps);
    expect(await warming.pointer()).toMatchObject({ current: idOf(21), previous: [idOf(20)] });
  });
});

describe('after the loss of the pointer', () => {
  /** A whole snapshot, and two on top of each other. */
  function withoutPointer() {
    const warming = fakeWarming();
    const first = warming.save(idOf(20), ['a', 'b']);
    const second = warming.save(idOf(21), ['a', 'b', 'c'], { parent: first });
    warming.save(idOf(22), ['a', 'x', 'c'], { parent: second });
    return warming;
  }

  test('the snapshots are promoted in the order in which they were made, one with each check', async () => {
    const warming = withoutPointer();
    for (const day of [20, 21, 22]) {
      expect(await reconcileSet(SET, warming.deps)).toMatchObject({ detail: { current: idOf(day) } });
    }
    expect(await warming.pointer()).toMatchObject({ previous: [idOf(21), idOf(20)], quarantined: [] });
  });

  test('one that is broken takes those on top of it along', async () => {
    const warming = withoutPointer();
    warming.corrupt(idOf(21));
    for (let check = 0; check < 4; check += 1) await reconcileSet(SET, warming.deps);
    const { current, quarantined } = (await warming.pointer()) ?? {};
    expect(current).toBe(idOf(20));
    expect(quarantined?.map(({ id }) => id).sort()).toEqual([idOf(21), idOf(22)]);
  });

  test('one whose parent is gone is quarantined', async () => {
    const warming = withoutPointer();
    await warming.store.remove(`sets/default/snapshots/${idOf(21)}/manifest.json`);
    for (let check = 0; check < 2; check += 1) await reconcileSet(SET, warming.deps);
    expect(await warming.pointer()).toMatchObject({ current: idOf(20), quarantined: [{ id: idOf(22) }] });
  });
});

describe('a current snapshot that is not whole is rolled back, once, without any report', () => {
  test.each([
    ['its manifest is gone', `sets/default/snapshots/${idOf(22)}/manifest.json`],
    ['its index is gone', `sets/default/snapshots/${idOf(22)}/index`],
    ['its frames are gone', `sets/default/frames/${idOf(22)}`],
  ])('%s', async (_, key) => {
    const warming = fakeWarming();
    warming.save(idOf(21), ['old']);
    warming.save(idOf(22), ['new']);
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    await warming.store.remove(key);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { quarantined: [idOf(22)], current: idOf(21) },
    });
    const after = await warming.pointer();
    expect(after).toMatchObject({ current: idOf(21), previous: [], quarantined: [{ id: idOf(22) }] });
    await reconcileSet(SET, warming.deps);
    expect(await warming.pointer()).toEqual(after);
  });

  test.each(['manifest.json', 'index'])('its %s was replaced by one of the same size', async (name) => {
    const warming = fakeWarming();
    warming.save(idOf(21), ['old']);
    const evil = warming.save(idOf(22), ['new']);
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    const key = `sets/default/snapshots/${idOf(22)}/${name}`;
    const bytes = name === 'index' ? Buffer.from(evil.index.bytes) : Buffer.from(evil.text);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20);
    warming.store.put(key, bytes, undefined, createHash('sha256').update(bytes).digest('base64'));
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { quarantined: [idOf(22)], current: idOf(21) },
    });
  });

  test('a roll back does not lead to one that was replaced as well', async () => {
    const warming = fakeWarming();
    for (const day of [20, 21, 22]) warming.save(idOf(day), [`of ${day}`]);
    warming.setPointer({ current: idOf(22), previous: [idOf(21), idOf(20)] });
    for (const day of [21, 22]) warming.corrupt(idOf(day));
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { quarantined: [idOf(21), idOf(22)], current: idOf(20) },
    });
    const counted = () => warming.metrics.filter((metric) => metric === 'QuarantinedSnapshots 1');
    expect(counted()).toHaveLength(2);
    await reconcileSet(SET, warming.deps);
    expect(counted()).toHaveLength(2);
    expect(await warming.pointer()).toMatchObject({ current: idOf(20), previous: [] });
  });

  test('one behind the current one is quarantined without a report', async () => {
    const warming = fakeWarming();
    for (const day of [21, 22]) warming.save(idOf(day), [`of ${day}`]);
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    warming.corrupt(idOf(21));
    await reconcileSet(SET, warming.deps);
    expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [] });
  });

  test('but not because its format is newer than this version', async () => {
    const warming = fakeWarming();
    warming.save(idOf(21), ['old']);
    warming.save(idOf(22), ['new'], { manifest: { formatVersion: 3 } });
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({ detail: { current: idOf(22) } });
    expect(await warming.pointer()).toMatchObject({ current: idOf(22), quarantined: [] });
  });

  test('but not because S3 does not answer', async () => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['new']);
    warming.setPointer({ current: idOf(22) });
    warming.store.head = async () => {
      throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
    };
    await expect(reconcileSet(SET, warming.deps)).rejects.toThrow('no');
    expect((await warming.pointer())?.current).toBe(idOf(22));
  });
});

describe('pruning', () => {
  /** Each on top of the one before it, with a frame of its own. */
  function fiveSnapshots() {
    const warming = fakeWarming();
    let parent: FakeSnapshot | undefined;
    for (const [unit, day] of [10, 11, 20, 21, 22].entries()) {
      const units = ['base', ...Array.from({ length: unit + 1 }, (_, index) => `unit ${index}`)];
      // The frame of the 11th is replaced on the 20th.
      if (day >= 20) units[2] = 'new';
      parent = warming.save(idOf(day), units, parent && { parent });
    }
    warming.setPointer({ current: idOf(22), previous: [idOf(21)] });
    return warming;
  }

  test('deletes what is old, and the objects that only that named', async () => {
    const warming = fiveSnapshots();
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { pruned: { snapshots: 2, objects: 1 } },
    });
    expect(warming.store.keys()).toEqual(
      [
        ...[10, 20, 21, 22].map((day) => `sets/default/frames/${idOf(day)}`),
        'sets/default/pointer.json',
        ...[20, 21, 22].flatMap((day) => [
          `sets/default/snapshots/${idOf(day)}/index`,
          `sets/default/snapshots/${idOf(day)}/manifest.json`,
        ]),
      ].sort(),
    );
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { pruned: { snapshots: 0, objects: 0 } },
    });
  });

  test('deletes what a save has left that ended before its manifest, after two days', async () => {
    const warming = fiveSnapshots();
    const left = [`sets/default/frames/${idOf(22, 9)}`, `sets/default/snapshots/${idOf(22, 9)}/index`];
    for (const key of left) warming.store.put(key, 'x', warming.now());
    warming.pass(47 * 60);
    await reconcileSet(SET, warming.deps);
    expect(warming.store.keys()).toEqual(expect.arrayContaining(left));
    warming.pass(2 * 60);
    await reconcileSet(SET, warming.deps);
    for (const key of left) expect(warming.store.keys()).not.toContain(key);
  });

  test('does nothing during a run', async () => {
    const warming = fiveSnapshots();
    await startRun(SET, warming.now(), warming.deps);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({ detail: { pruned: { snapshots: 0 } } });
  });

  test('keeps every object while a manifest is not readable', async () => {
    const warming = fiveSnapshots();
    warming.store.put(`sets/default/snapshots/${idOf(20)}/manifest.json`, 'x');
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { pruned: { snapshots: 2, objects: 0 } },
    });
  });

  test.each([
    ['a newer format, however old, and every object', 3, 0],
    ['an older format, however old, which names no object', 1, 1],
  ])('keeps a snapshot of %s', async (_, formatVersion, objects) => {
    const warming = fiveSnapshots();
    warming.save(idOf(9), ['x'], { manifest: { formatVersion } });
    await warming.store.remove(`sets/default/frames/${idOf(9)}`);
    expect(await reconcileSet(SET, warming.deps)).toMatchObject({
      detail: { pruned: { snapshots: 2, objects } },
    });
    expect(warming.store.keys()).toContain(`sets/default/snapshots/${idOf(9)}/manifest.json`);
  });

  test('keeps objects with other names', async () => {
    const warming = fiveSnapshots();
    const foreign = ['sets/default/notes.txt', 'sets/default/frames/x', `sets/other/frames/${idOf(1)}`, 'x'];
    for (const key of foreign) warming.store.put(key, 'x', new Date(0));
    await reconcileSet(SET, warming.deps);
    expect(warming.store.keys()).toEqual(expect.arrayContaining(foreign));
  });

  test('stops when S3 does not list', async () => {
    const warming = fiveSnapshots();
    const before = warming.store.keys();
    const { list } = warming.store;
    let listings = 0;
    warming.store.list = (prefix) => {
      listings += 1;
      // The last listing of a check lists the remaining manifests.
      if (listings === 4) throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
      return list(prefix);
    };
    await expect(reconcileSet(SET, warming.deps)).rejects.toThrow('no');
    expect(warming.store.keys().filter((key) => key.includes('frames'))).toEqual(
      before.filter((key) => key.includes('frames')),
    );
  });
});
