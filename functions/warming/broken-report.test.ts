import { describe, expect, test } from 'vitest';
import { handleBrokenReport } from './pointer.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

const bad = { id: idOf(22), reason: 'chunk 3 has another checksum' };

function threeSnapshots() {
  const warming = fakeWarming();
  for (const day of [20, 21, 22]) warming.save(idOf(day), [`layer ${day}`]);
  warming.setPointer({ current: idOf(22), previous: [idOf(21), idOf(20)] });
  return warming;
}

test('a snapshot that is broken in S3 too is quarantined, and the one before it is current again, once', async () => {
  const warming = threeSnapshots();
  warming.corrupt('layer 22');
  const report = () => handleBrokenReport(SET, bad, warming.now(), warming.deps);
  const outcomes = await Promise.all([report(), report(), report()]);
  expect(outcomes[0]).toMatchObject({
    outcome: 'done',
    detail: { quarantined: idOf(22), current: idOf(21) },
  });
  expect(await report()).toMatchObject({ outcome: 'skipped', reason: 'already-quarantined' });
  expect(await warming.pointer()).toMatchObject({
    current: idOf(21),
    previous: [idOf(20)],
    quarantined: [{ id: idOf(22) }],
  });
  expect(warming.warnings).toEqual(['a broken snapshot is quarantined']);
});

test('an instance with a bad disk does not quarantine a sound snapshot, nor cause a read per report', async () => {
  const warming = threeSnapshots();
  let reads = 0;
  const { readRange } = warming.store;
  warming.store.readRange = (...range) => {
    reads += 1;
    return readRange(...range);
  };
  for (let report = 0; report < 5; report += 1) {
    warming.pass(1);
    expect(await handleBrokenReport(SET, bad, warming.now(), warming.deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'snapshot-is-sound',
      detail: { reported: bad.reason },
    });
  }
  expect(reads).toBe(1);
  expect((await warming.pointer())?.current).toBe(idOf(22));
});

test('a snapshot that breaks after its verification is found, an hour later at most', async () => {
  const warming = threeSnapshots();
  await handleBrokenReport(SET, bad, warming.now(), warming.deps);
  warming.corrupt('layer 22');
  warming.pass(61);
  expect(await handleBrokenReport(SET, bad, warming.now(), warming.deps)).toMatchObject({
    outcome: 'done',
  });
});

test('an older verification is no answer to a report', async () => {
  const warming = threeSnapshots();
  warming.deps.soundSnapshots.set(`default/${bad.id}`, warming.now().getTime());
  warming.pass(61);
  warming.corrupt('layer 22');
  expect(await handleBrokenReport(SET, bad, warming.now(), warming.deps)).toMatchObject({
    outcome: 'done',
  });
});

test('a broken snapshot behind the current one is quarantined', async () => {
  const warming = threeSnapshots();
  warming.corrupt('layer 21');
  await handleBrokenReport(SET, { ...bad, id: idOf(21) }, warming.now(), warming.deps);
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [idOf(20)] });
});

describe('a report is skipped about', () => {
  test.each(['20261101T000000Z-00000000', '../../etc/passwd', '__proto__'])(
    '%s, which is not in use',
    async (id) => {
      const warming = threeSnapshots();
      const outcome = await handleBrokenReport(SET, { ...bad, id }, warming.now(), warming.deps);
      expect(outcome).toMatchObject({ outcome: 'skipped', reason: 'not-in-use' });
    },
  );

  test('a set without a pointer', async () => {
    const warming = fakeWarming();
    const outcome = await handleBrokenReport(SET, bad, warming.now(), warming.deps);
    expect(outcome).toEqual({ outcome: 'skipped', reason: 'no-pointer' });
  });
});

test('a snapshot of a newer format is neither quarantined nor rolled back', async () => {
  const warming = threeSnapshots();
  warming.save(idOf(22), ['layer 22'], { formatVersion: 2 });
  expect(await handleBrokenReport(SET, bad, warming.now(), warming.deps)).toMatchObject({
    outcome: 'skipped',
    reason: 'unsupported-format',
  });
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), quarantined: [] });
});
