import { describe, expect, test } from 'vitest';
import { handleBrokenReport } from './broken-reports.ts';
import { type FakeWarming, fakeWarming, idOf, SET } from './testing/fake-warming.ts';

const bad = {
  id: idOf(22),
  reason: 'a frame has another sha256',
  frame: { object: idOf(22), offset: 0 },
  instanceId: 'i-00000000000000001',
};

/** The report of the n-th instance, now. */
function report(warming: FakeWarming, change: object = {}, instance = 1) {
  const instanceId = `i-0000000000000000${instance}`;
  return handleBrokenReport(SET, { ...bad, instanceId, ...change }, warming.deps);
}

function threeSnapshots() {
  const warming = fakeWarming();
  for (const day of [20, 21, 22]) warming.save(idOf(day), [`of ${day}`, 'more']);
  warming.setPointer({ current: idOf(22), previous: [idOf(21), idOf(20)] });
  return warming;
}

test('a snapshot that is broken in S3 too is quarantined, and the one before it is current again, once', async () => {
  const warming = threeSnapshots();
  warming.corrupt(idOf(22), { checksum: 'kept' });
  const outcomes = await Promise.all([1, 2, 3].map(() => report(warming)));
  expect(outcomes[0]).toMatchObject({
    outcome: 'done',
    detail: { quarantined: idOf(22), current: idOf(21) },
  });
  expect(await report(warming)).toMatchObject({ outcome: 'skipped', reason: 'already-quarantined' });
  expect(await warming.pointer()).toMatchObject({
    current: idOf(21),
    previous: [idOf(20)],
    quarantined: [{ id: idOf(22) }],
  });
  expect(warming.warnings).toEqual(['a broken snapshot is quarantined']);
  expect(warming.metrics).toEqual(['QuarantinedSnapshots 1']);
});

test('an instance with a bad disk does not quarantine a sound snapshot, nor cause a read per report', async () => {
  const warming = threeSnapshots();
  let reads = 0;
  const { readRange } = warming.store;
  warming.store.readRange = (...range) => {
    reads += 1;
    return readRange(...range);
  };
  for (let again = 0; again < 5; again += 1) {
    warming.pass(1);
    expect(await report(warming)).toMatchObject({
      outcome: 'skipped',
      reason: 'snapshot-is-sound',
      detail: { reported: bad.reason, instances: 1 },
    });
  }
  // The index, two new frames and the frame of the report.
  expect(reads).toBe(4);
  expect((await warming.pointer())?.current).toBe(idOf(22));
});

test('a snapshot that breaks after its verification is found, an hour later at most', async () => {
  const warming = threeSnapshots();
  await report(warming);
  warming.corrupt(idOf(22), { checksum: 'kept' });
  warming.pass(61);
  expect(await report(warming)).toMatchObject({
    outcome: 'done',
  });
});

test('reports of ever another frame cause a bounded number of verifications, and then count only', async () => {
  const warming = threeSnapshots();
  let reads = 0;
  const { readRange } = warming.store;
  warming.store.readRange = (...range) => {
    reads += 1;
    return readRange(...range);
  };
  for (let offset = 1; offset <= 50; offset += 1) {
    await report(warming, { frame: { object: idOf(22), offset } });
  }
  // The index and two new frames each.
  expect(reads).toBe(8 * 3);
  warming.corrupt(idOf(22), { checksum: 'kept' });
  for (const instance of [2, 3, 4]) await report(warming, {}, instance);
  expect((await warming.pointer())?.current).toBe(idOf(21));
});

test('the verifications of a snapshot are counted per day, whatever environment handles the report', async () => {
  const warming = threeSnapshots();
  let verifications = 0;
  const { readRange } = warming.store;
  warming.store.readRange = (key, ...range) => {
    if (key.endsWith('/index')) verifications += 1;
    return readRange(key, ...range);
  };
  const flood = async (from: number) => {
    for (let offset = from; offset < from + 12; offset += 1)
      await report(warming, { frame: { object: idOf(22), offset } }, offset % 9);
  };
  await flood(0);
  warming.pass(23 * 60);
  await flood(100);
  expect(verifications).toBe(8);
  warming.pass(61);
  await flood(200);
  expect(verifications).toBe(16);
});

test('a verification that S3 ends is not a sound one', async () => {
  const warming = threeSnapshots();
  warming.corrupt(idOf(22), { checksum: 'kept' });
  const { head } = warming.store;
  warming.store.head = async () => {
    throw new Error('SlowDown');
  };
  await expect(report(warming)).rejects.toThrow('SlowDown');
  warming.store.head = head;
  expect(await report(warming)).toMatchObject({ outcome: 'done', detail: { quarantined: idOf(22) } });
});

test('the reports of one instance displace none of another one', async () => {
  const warming = threeSnapshots();
  for (const instance of [1, 2]) await report(warming, {}, instance);
  for (let offset = 1; offset <= 100; offset += 1)
    await report(warming, { frame: { object: idOf(22), offset } }, 4);
  await report(warming, {}, 3);
  expect((await warming.pointer())?.current).toBe(idOf(21));
});

test('a broken snapshot behind the current one is quarantined', async () => {
  const warming = threeSnapshots();
  warming.corrupt(idOf(21), { checksum: 'kept' });
  await report(warming, { id: idOf(21), frame: undefined });
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), previous: [idOf(20)] });
});

describe('a report is skipped about', () => {
  test.each(['20261101T000000Z-00000000', '../../etc/passwd', '__proto__'])(
    '%s, which is not in use',
    async (id) => {
      const warming = threeSnapshots();
      const outcome = await report(warming, { id });
      expect(outcome).toMatchObject({ outcome: 'skipped', reason: 'not-in-use' });
    },
  );

  test('a set without a pointer', async () => {
    const warming = fakeWarming();
    const outcome = await report(warming);
    expect(outcome).toEqual({ outcome: 'skipped', reason: 'no-pointer' });
  });
});

test('a snapshot of a newer format is neither quarantined nor rolled back', async () => {
  const warming = threeSnapshots();
  warming.save(idOf(22), ['x'], { manifest: { formatVersion: 3 } });
  expect(await report(warming)).toMatchObject({
    outcome: 'skipped',
    reason: 'unsupported-format',
  });
  expect(await warming.pointer()).toMatchObject({ current: idOf(22), quarantined: [] });
});

describe('three instances that report the same problem of a snapshot that is sound in S3', () => {
  test('roll it back', async () => {
    const warming = threeSnapshots();
    expect(await report(warming, {}, 1)).toMatchObject({
      reason: 'snapshot-is-sound',
      detail: { instances: 1 },
    });
    expect(await report(warming, {}, 2)).toMatchObject({
      reason: 'snapshot-is-sound',
      detail: { instances: 2 },
    });
    expect(await report(warming, {}, 2)).toMatchObject({
      reason: 'snapshot-is-sound',
      detail: { instances: 2 },
    });
    expect(await report(warming, {}, 3)).toMatchObject({
      outcome: 'done',
      detail: { quarantined: idOf(22), reason: expect.stringContaining('3 instances'), current: idOf(21) },
    });
    expect(await warming.pointer()).toMatchObject({ current: idOf(21), previous: [idOf(20)] });
  });

  test('at the same time too', async () => {
    const warming = threeSnapshots();
    await Promise.all([1, 2, 3].map((instance) => report(warming, {}, instance)));
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('with another frame each prove nothing', async () => {
    const warming = threeSnapshots();
    for (const instance of [1, 2, 3]) {
      await report(warming, { frame: { object: idOf(22), offset: instance } }, instance);
    }
    expect((await warming.pointer())?.current).toBe(idOf(22));
  });

  test('within more than a day prove nothing', async () => {
    const warming = threeSnapshots();
    for (const instance of [1, 2, 3]) {
      await report(warming, {}, instance);
      warming.pass(13 * 60);
    }
    expect((await warming.pointer())?.current).toBe(idOf(22));
  });

  test('count also without a frame: no kernel mounts the image', async () => {
    const warming = threeSnapshots();
    for (const instance of [1, 2, 3])
      await report(warming, { frame: undefined, reason: 'mount: EUCLEAN' }, instance);
    expect((await warming.pointer())?.current).toBe(idOf(21));
  });

  test('are counted anew where the record is not readable, and the record stays small', async () => {
    const warming = threeSnapshots();
    warming.store.put('sets/default/broken-reports.json', '{');
    for (let offset = 0; offset < 100; offset += 1) {
      const instanceId = `i-${String(offset).padStart(17, '0')}`;
      const place = { object: 'x'.repeat(64), offset };
      await handleBrokenReport(SET, { ...bad, instanceId, frame: place }, warming.deps);
    }
    const { text } = (await warming.store.read('sets/default/broken-reports.json')) ?? { text: '' };
    expect(JSON.parse(text).problems).toHaveLength(32);
  });
});
