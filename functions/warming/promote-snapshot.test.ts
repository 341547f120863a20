import { describe, expect, test } from 'vitest';
import { framesKey, indexKey } from '../../shared/snapshot/layout.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { startRun } from './advance-run.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

/** A run that began at 3:00, and a snapshot of 4:00; it is 4:05. */
async function runWithSnapshot(units: string[] = ['base']) {
  const warming = fakeWarming({ deadlineMinutes: 120 });
  await startRun({ ...SET, deadlineMinutes: 120 }, warming.now(), warming.deps);
  warming.pass(65);
  const id = idOf(23, 4);
  const snapshot = warming.save(id, units);
  return { warming, id, snapshot };
}

test('a sound snapshot becomes current, ends its run and lowers the capacity', async () => {
  const { warming, id, snapshot } = await runWithSnapshot(['base', 'top']);
  const bytes = snapshot.manifest.totals.storedBytes;
  expect(await evaluateSnapshot(SET, id, warming.deps)).toEqual({
    outcome: 'done',
    detail: { current: id, objects: 1, bytes, added: bytes },
  });
  const { manifestSha256 } = snapshot;
  expect((await readPointer(warming.store, 'default'))?.pointer.current).toEqual({
    id,
    manifestSha256,
    generation: 0,
  });
  expect(await warming.pointer()).toMatchObject({ current: id, previous: [] });
  expect(await warming.run()).toMatchObject({ state: 'done', snapshot: id });
  expect(warming.capacity?.desired).toBe(0);
  expect(warming.metrics).toEqual(['WarmingRunSeconds 3900']);
});

test('the event again, however often, changes nothing more', async () => {
  const { warming, id } = await runWithSnapshot();
  await evaluateSnapshot(SET, id, warming.deps);
  const before = await warming.pointer();
  for (let again = 0; again < 3; again += 1) {
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'not-newer',
    });
  }
  expect(await warming.pointer()).toEqual(before);
  expect(warming.metrics).toEqual(['WarmingRunSeconds 3900']);
});

test('a function that died after the promotion ends the run when the event comes again', async () => {
  const { warming, id } = await runWithSnapshot();
  warming.setPointer({ current: id });
  expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ reason: 'not-newer' });
  expect(await warming.run()).toMatchObject({ state: 'done', snapshot: id });
  expect(warming.capacity?.desired).toBe(0);
});

test('several invocations at once promote it once', async () => {
  const { warming, id } = await runWithSnapshot();
  const outcomes = await Promise.all([1, 2, 3, 4].map(() => evaluateSnapshot(SET, id, warming.deps)));
  expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
  expect(await warming.pointer()).toMatchObject({ current: id, previous: [] });
  expect(warming.metrics).toEqual(['WarmingRunSeconds 3900']);
});

test('a newer snapshot is never replaced by an older one, in any order of evaluation', async () => {
  const warming = fakeWarming();
  warming.save(idOf(21), ['one']);
  warming.save(idOf(22), ['one', 'two']);
  await evaluateSnapshot(SET, idOf(22), warming.deps);
  expect(await evaluateSnapshot(SET, idOf(21), warming.deps)).toMatchObject({ reason: 'not-newer' });
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [] });
});

test('an older snapshot that is verified more slowly does not come last', async () => {
  const warming = fakeWarming();
  warming.save(idOf(21), ['one']);
  warming.save(idOf(22), ['two']);
  const { readRange } = warming.store;
  let newer: Promise<unknown> | undefined;
  const slow = {
    ...warming.store,
    readRange: async (...range: Parameters<typeof readRange>) => {
      newer ??= evaluateSnapshot(SET, idOf(22), warming.deps);
      await newer;
      return readRange(...range);
    },
  };
  expect(await evaluateSnapshot(SET, idOf(21), { ...warming.deps, store: slow })).toMatchObject({
    reason: 'not-newer',
  });
  expect((await warming.pointer())?.current).toBe(idOf(22));
});

test('the pointer names no more than the set keeps', async () => {
  const warming = fakeWarming();
  warming.setPointer({ current: idOf(22), previous: [21, 20, 19].map((day) => idOf(day)) });
  for (const day of [19, 20, 21, 22, 23]) warming.save(idOf(day), [`of ${day}`]);
  await evaluateSnapshot(SET, idOf(23), warming.deps);
  expect(await warming.pointer()).toMatchObject({ current: idOf(23), previous: [idOf(22), idOf(21)] });
});

describe('a broken snapshot is quarantined and its run failed, once', () => {
  const broken: [string, (w: Awaited<ReturnType<typeof runWithSnapshot>>) => void][] = [
    ['frames with other bytes', ({ warming, id }) => warming.corrupt(id)],
    [
      'frames with other bytes of the same checksum',
      ({ warming, id }) => warming.corrupt(id, { checksum: 'kept' }),
    ],
    ['frames that are missing', ({ warming, id }) => void warming.store.remove(framesKey('default', id))],
    ['an index that is missing', ({ warming, id }) => void warming.store.remove(indexKey('default', id))],
    [
      'a manifest of another set',
      ({ warming, id, snapshot }) =>
        warming.store.put(
          `sets/default/snapshots/${id}/manifest.json`,
          JSON.stringify({ ...snapshot.manifest, set: 'other' }),
        ),
    ],
    [
      'a manifest that is no JSON',
      ({ warming, id }) => warming.store.put(`sets/default/snapshots/${id}/manifest.json`, '{'),
    ],
  ];
  test.each(broken)('%s', async (_, breakIt) => {
    const made = await runWithSnapshot();
    breakIt(made);
    const { warming, id } = made;
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
      outcome: 'done',
      detail: { quarantined: id },
    });
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'quarantined',
    });
    expect(await warming.pointer()).toMatchObject({ current: null, quarantined: [{ id }] });
    expect(await warming.run()).toMatchObject({ state: 'failed' });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
    expect(warming.capacity?.desired).toBe(0);
  });

  test('also if the function died between the two', async () => {
    const { warming, id } = await runWithSnapshot();
    warming.setPointer({ quarantined: [{ id, reason: 'x', at: '2026-11-23T04:00:00Z' }] });
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ reason: 'quarantined' });
    expect(await warming.run()).toMatchObject({ state: 'failed' });
    expect(warming.metrics).toEqual(['WarmingRunFailures 1']);
  });
});

test.each(['20991231T000000Z-00000000', '99999999T999999Z-00000000'])(
  'an id from the future (%s) would never be replaced: it is refused',
  async (id) => {
    const warming = fakeWarming();
    warming.save(id, ['base']);
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ detail: { quarantined: id } });
    warming.save(idOf(22), ['base']);
    await evaluateSnapshot(SET, idOf(22), warming.deps);
    expect((await warming.pointer())?.current).toBe(idOf(22));
  },
);

test('an event about a snapshot that is not there is skipped, and the run goes on', async () => {
  const { warming } = await runWithSnapshot();
  expect(await evaluateSnapshot(SET, idOf(23, 5), warming.deps)).toMatchObject({
    reason: 'no-such-snapshot',
  });
  expect(await warming.run()).toMatchObject({ state: 'running' });
  expect(warming.capacity?.desired).toBe(1);
});

describe('the parent', () => {
  const PARENT = idOf(22);

  /** A current snapshot, the one before it, and one on top of the current one. */
  function onTop() {
    const warming = fakeWarming();
    warming.save(idOf(21), ['a', 'b']);
    const parent = warming.save(PARENT, ['a', 'b', 'c']);
    warming.setPointer({ current: PARENT, previous: [idOf(21)] });
    warming.pass(65);
    warming.save(idOf(23, 4), ['a', 'x', 'c'], { parent });
    return warming;
  }

  test('vouches for the frames that the snapshot shares with it', async () => {
    const warming = onTop();
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { current: idOf(23, 4), objects: 2 },
    });
  });

  test('that is quarantined before the verification takes what is on top of it along', async () => {
    const warming = onTop();
    const at = '2026-11-23T04:00:00Z';
    warming.setPointer({ current: idOf(21), quarantined: [{ id: PARENT, reason: 'x', at }] });
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { quarantined: idOf(23, 4), reason: `it was made from ${PARENT}, which is quarantined` },
    });
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('that is quarantined during the verification does so as well, with the retry', async () => {
    const warming = onTop();
    const { readRange } = warming.store;
    const at = '2026-11-23T04:00:00Z';
    warming.store.readRange = async (...range) => {
      warming.setPointer({ current: idOf(21), quarantined: [{ id: PARENT, reason: 'x', at }] });
      return readRange(...range);
    };
    await expect(evaluateSnapshot(SET, idOf(23, 4), warming.deps)).rejects.toMatchObject({
      name: 'RetryableError',
      reason: 'parent-changed',
    });
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { quarantined: idOf(23, 4) },
    });
  });

  test('that was replaced under its name vouches for nothing', async () => {
    const warming = onTop();
    const evil = warming.save(PARENT, ['evil', 'b', 'c']);
    warming.save(idOf(23, 4), ['evil', 'x', 'c'], { parent: evil });
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: {
        quarantined: idOf(23, 4),
        reason: expect.stringContaining('not the text that the pointer names'),
      },
    });
  });
});

test.each([1, 3])(
  'a snapshot of format %d changes no pointer, and is never quarantined',
  async (formatVersion) => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['base'], { manifest: { formatVersion } });
    expect(await evaluateSnapshot(SET, idOf(22), warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'unsupported-format',
    });
    expect(await warming.pointer()).toBeUndefined();
  },
);

test('a whole snapshot does not depend on a current one whose manifest is broken', async () => {
  const { warming, id } = await runWithSnapshot();
  warming.setPointer({ current: idOf(22) });
  warming.store.put(`sets/default/snapshots/${idOf(22)}/manifest.json`, '{');
  expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
    outcome: 'done',
    detail: { current: id },
  });
});

test('a verification that cannot read decides nothing about the snapshot', async () => {
  const { warming, id } = await runWithSnapshot();
  warming.store.readRange = async () => {
    throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
  };
  await expect(evaluateSnapshot(SET, id, warming.deps)).rejects.toThrow('no');
  expect(await warming.pointer()).toBeUndefined();
  expect(await warming.run()).toMatchObject({ state: 'running' });
});
