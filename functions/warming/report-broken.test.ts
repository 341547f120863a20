import { describe, expect, test } from 'vitest';
import { snapshotReportedBroken } from './report-broken.ts';
import { fakeWarming, idOf, SET } from './testing/fake-warming.ts';

const bad = { id: idOf(22), reason: 'chunk 3 has another checksum' };

function house() {
  const warming = fakeWarming();
  for (const day of [20, 21, 22]) warming.save(idOf(day), [`layer ${day}`]);
  warming.point({ current: idOf(22), previous: [idOf(21), idOf(20)] });
  return warming;
}

test('a snapshot that is broken in S3 too is quarantined, and the one before it is current again, once', async () => {
  const warming = house();
  warming.corrupt('layer 22');
  const report = () => snapshotReportedBroken(SET, bad, warming.now(), warming.context);
  const outcomes = await Promise.all([report(), report(), report()]);
  expect(outcomes[0]).toMatchObject({
    outcome: 'done',
    detail: { quarantined: idOf(22), current: idOf(21) },
  });
  expect(await report()).toMatchObject({ outcome: 'skipped', reason: 'quarantined-already' });
  expect(await warming.pointer()).toMatchObject({
    current: idOf(21),
    previous: [idOf(20)],
    quarantined: [{ id: idOf(22) }],
  });
  expect(warming.warnings).toEqual(['a broken snapshot is quarantined']);
});

test('one machine with a bad disk does not quarantine a sound snapshot, nor has it read each time', async () => {
  const warming = house();
  let reads = 0;
  const { readRange } = warming.store;
  warming.store.readRange = (...range) => {
    reads += 1;
    return readRange(...range);
  };
  for (let machine = 0; machine < 5; machine += 1) {
    warming.pass(1);
    expect(await snapshotReportedBroken(SET, bad, warming.now(), warming.context)).toMatchObject({
      outcome: 'skipped',
      reason: 'snapshot-is-sound',
      detail: { reported: bad.reason },
    });
  }
  expect(reads).toBe(1);
  expect((await warming.pointer())?.current).toBe(idOf(22));
});

test('what broke after it was last read is found, an hour later at most', async () => {
  const warming = house();
  await snapshotReportedBroken(SET, bad, warming.now(), warming.context);
  warming.corrupt('layer 22');
  warming.pass(61);
  expect(await snapshotReportedBroken(SET, bad, warming.now(), warming.context)).toMatchObject({
    outcome: 'done',
  });
});

test('what was verified before the report says nothing about it', async () => {
  const warming = house();
  warming.context.findings.layers.set('default/whatever', warming.now().getTime());
  for (const key of warming.store.keys()) {
    const sha256 = /layers\/(.*)\.sqfs/.exec(key)?.[1];
    if (sha256) warming.context.findings.layers.set(`default/${sha256}`, warming.now().getTime());
  }
  warming.pass(10);
  warming.corrupt('layer 22');
  expect(await snapshotReportedBroken(SET, bad, warming.now(), warming.context)).toMatchObject({
    outcome: 'done',
  });
});

test('one behind the current is taken out of the line', async () => {
  const warming = house();
  warming.corrupt('layer 21');
  await snapshotReportedBroken(SET, { ...bad, id: idOf(21) }, warming.now(), warming.context);
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [idOf(20)] });
});

describe('skipped is a report about', () => {
  test.each(['20261101T000000Z-00000000', '../../etc/passwd', '__proto__'])(
    '%s, which nobody mounts',
    async (id) => {
      const warming = house();
      const outcome = await snapshotReportedBroken(SET, { ...bad, id }, warming.now(), warming.context);
      expect(outcome).toMatchObject({ outcome: 'skipped', reason: 'not-in-use' });
    },
  );

  test('a set without a pointer', async () => {
    const warming = fakeWarming();
    const outcome = await snapshotReportedBroken(SET, bad, warming.now(), warming.context);
    expect(outcome).toEqual({ outcome: 'skipped', reason: 'no-pointer' });
  });
});
