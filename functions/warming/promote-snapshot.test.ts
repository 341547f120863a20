import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../shared/runtime/outcome.ts';
import { startRun } from './advance-run.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { fakeWarming, idOf, SET, sha256 } from './testing/fake-warming.ts';

/** A run that began at 3:00, and a snapshot of 4:00; it is 4:05. */
async function runWithSnapshot(layers: string[] = ['base']) {
  const warming = fakeWarming({ deadlineMinutes: 120 });
  await startRun({ ...SET, deadlineMinutes: 120 }, warming.now(), warming.deps);
  warming.pass(65);
  const id = idOf(23, 4);
  warming.save(id, layers);
  return { warming, id };
}

test('a sound snapshot becomes current, ends its run and lowers the capacity', async () => {
  const { warming, id } = await runWithSnapshot(['base', 'top'.repeat(1000)]);
  expect(await evaluateSnapshot(SET, id, warming.deps)).toEqual({
    outcome: 'done',
    detail: { current: id, layers: 2, bytes: 3004, read: 3004 },
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
  const both = () =>
    Promise.all([
      evaluateSnapshot(SET, idOf(21), warming.deps),
      evaluateSnapshot(SET, idOf(22), warming.deps),
    ]);
  // One of them waits for the lease of the other.
  expect((await both()).map(({ outcome }) => outcome).sort()).toEqual(['done', 'retry']);
  await both();
  expect((await warming.pointer())?.current).toBe(idOf(22));
});

test('the pointer names no more than the set keeps', async () => {
  const warming = fakeWarming();
  warming.setPointer({ current: idOf(22), previous: [21, 20, 19].map((day) => idOf(day)) });
  for (const day of [19, 20, 21, 22, 23]) warming.save(idOf(day), [`layer ${day}`]);
  await evaluateSnapshot(SET, idOf(23), warming.deps);
  expect(await warming.pointer()).toMatchObject({ current: idOf(23), previous: [idOf(22), idOf(21)] });
});

describe('a broken snapshot is quarantined and its run failed, once', () => {
  const broken: [string, (w: Awaited<ReturnType<typeof runWithSnapshot>>) => void][] = [
    ['a layer with other bytes', ({ warming }) => warming.corrupt('base')],
    [
      'a layer that is missing',
      ({ warming }) => void warming.store.remove(`sets/default/layers/${sha256('base')}.sqfs`),
    ],
    ['a manifest of another set', ({ warming, id }) => warming.save(id, ['base'], { set: 'other' })],
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

describe('verification', () => {
  test('reads only what the current snapshot does not vouch for', async () => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['x'.repeat(9000)]);
    await evaluateSnapshot(SET, idOf(22), warming.deps);
    warming.save(idOf(23), ['x'.repeat(9000), 'top']);
    expect(await evaluateSnapshot(SET, idOf(23), warming.deps)).toMatchObject({ detail: { read: 3 } });
  });

  test('ends in one invocation, whatever the size: S3 has the checksums of what is not read', async () => {
    const { warming, id } = await runWithSnapshot(['a'.repeat(5000), 'b'.repeat(5000), 'c'.repeat(5000)]);
    const { readRange } = warming.store;
    let reads = 0;
    warming.store.readRange = (key, start, length) => {
      reads += 1;
      warming.pass(1);
      return readRange(key, start, length);
    };
    warming.store.checksum = async (key) => checksumOf(key);
    const checksumOf = (key: string) => {
      const text = ['a', 'b', 'c']
        .map((letter) => letter.repeat(5000))
        .find((each) => key.includes(sha256(each)));
      return text === undefined ? undefined : Buffer.from(sha256(text), 'hex').toString('base64');
    };
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
      outcome: 'done',
      detail: { current: id },
    });
    // Three minutes of reading, four chunks at a time.
    expect(reads).toBeLessThanOrEqual(8);
    expect(warming.capacity?.desired).toBe(0);
  });

  test('refuses a snapshot that is too large to read and has no checksum in S3', async () => {
    const { warming, id } = await runWithSnapshot(['a'.repeat(5000), 'b'.repeat(5000)]);
    const { readRange } = warming.store;
    warming.store.readRange = (...range) => {
      warming.pass(4);
      return readRange(...range);
    };
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ detail: { quarantined: id } });
  });

  test('runs once at a time: a second invocation waits for the lease', async () => {
    const { warming, id } = await runWithSnapshot(['a'.repeat(5000)]);
    const { readRange } = warming.store;
    let reads = 0;
    let second: Promise<Outcome> | undefined;
    warming.store.readRange = async (...range) => {
      reads += 1;
      second ??= evaluateSnapshot(SET, id, warming.deps);
      await second;
      return readRange(...range);
    };
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ outcome: 'done' });
    expect(await second).toMatchObject({ outcome: 'retry', reason: 'verification-in-progress' });
    expect(reads).toBe(5);
  });

  test('continues after an invocation that crashed with the lease', async () => {
    const { warming, id } = await runWithSnapshot();
    const until = new Date(warming.now().getTime() + 5 * 60_000).toISOString();
    warming.store.put('sets/default/verification.json', JSON.stringify({ snapshot: id, until }));
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ outcome: 'retry' });
    warming.pass(5);
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({ outcome: 'done' });
    expect(warming.store.keys()).not.toContain('sets/default/verification.json');
  });

  test('does not change the pointer for a snapshot of a newer format', async () => {
    const warming = fakeWarming();
    warming.save(idOf(22), ['base'], { formatVersion: 2 });
    expect(await evaluateSnapshot(SET, idOf(22), warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'unsupported-format',
    });
    expect(await warming.pointer()).toBeUndefined();
  });

  test('is not stopped by a current snapshot whose manifest is broken', async () => {
    const { warming, id } = await runWithSnapshot();
    warming.setPointer({ current: idOf(22) });
    warming.store.put(`sets/default/snapshots/${idOf(22)}/manifest.json`, '{');
    expect(await evaluateSnapshot(SET, id, warming.deps)).toMatchObject({
      outcome: 'done',
      detail: { current: id },
    });
  });

  test('that cannot read decides nothing about the snapshot', async () => {
    const { warming, id } = await runWithSnapshot();
    warming.store.readRange = async () => {
      throw Object.assign(new Error('no'), { name: 'ServiceUnavailable' });
    };
    await expect(evaluateSnapshot(SET, id, warming.deps)).rejects.toThrow('no');
    expect(await warming.pointer()).toBeUndefined();
    expect(await warming.run()).toMatchObject({ state: 'running' });
  });
});

describe('a snapshot on top of one that is pruned', () => {
  test('is refused while a pruning may be under way: its layers may be about to go', async () => {
    const warming = fakeWarming();
    warming.save(idOf(10), ['old base']);
    await warming.store.remove(`sets/default/snapshots/${idOf(10)}/manifest.json`);
    warming.pass(75);
    warming.save(idOf(23, 4), ['old base', 'new top']);
    expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
      detail: { quarantined: idOf(23, 4), reason: expect.stringContaining(sha256('old base')) },
    });
  });

  test('is fine if another snapshot names the layer, or if it has been there for long', async () => {
    for (const [other, minutes] of [
      [true, 0],
      [false, 31],
    ] as const) {
      const warming = fakeWarming();
      warming.save(idOf(10), ['old base']);
      if (!other) await warming.store.remove(`sets/default/snapshots/${idOf(10)}/manifest.json`);
      warming.pass(75);
      warming.save(idOf(23, 4), ['old base', 'new top']);
      warming.pass(minutes);
      expect(await evaluateSnapshot(SET, idOf(23, 4), warming.deps)).toMatchObject({
        detail: { current: idOf(23, 4) },
      });
    }
  });
});
