import { beforeEach, describe, expect, test } from 'vitest';
import { encodeFrame } from '../../shared/snapshot/frame.ts';
import { indexBuilder } from '../../shared/snapshot/frame-index.ts';
import { framesKey, indexKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { compositeChecksum, type Manifest } from '../../shared/snapshot/manifest.ts';
import { emptyPointer, type Pointer, promote } from '../../shared/snapshot/pointer.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import {
  type FakeSnapshot,
  fakeImage,
  fakeSnapshot,
  framesObjectOf,
  sha256Of,
  storeSnapshot,
  unitContent,
} from '../../shared/snapshot/testing/fake-snapshot.ts';
import { type MemoryStore, memoryStore } from '../../shared/snapshot/testing/memory-store.ts';
import { bytesOf, unitsOf } from '../../shared/snapshot/units.ts';
import { idOf } from './testing/fake-warming.ts';
import { verifyPresence, verifySnapshot } from './verification.ts';

const SET = 'default';
const [GRANDPARENT, PARENT, NEW] = [idOf(21), idOf(22), idOf(23)];

let store: MemoryStore;
let grandparent: FakeSnapshot;
let parent: FakeSnapshot;
let pointer: Pointer;

/** Stores a snapshot on top of the parent. */
function save(texts: (string | undefined)[], manifest: Partial<Manifest> = {}, on: FakeSnapshot = parent) {
  const snapshot = fakeSnapshot(SET, NEW, fakeImage(...texts), { parent: on, frameUnits: 2, manifest });
  storeSnapshot(store, snapshot);
  return snapshot;
}

/** Stores another index and manifest for a snapshot. */
function replace(snapshot: FakeSnapshot, index: FakeSnapshot['index'], change: Partial<Manifest> = {}): void {
  const manifest = {
    ...snapshot.manifest,
    index: { sha256: sha256Of(index.bytes), bytes: index.bytes.length, records: index.count },
    totals: index.totals(),
    ...change,
  };
  store.put(indexKey(SET, NEW), index.bytes);
  store.put(manifestKey(SET, NEW), JSON.stringify(manifest));
}

const verify = (reported?: { object: string; offset: number }) =>
  verifySnapshot(store, SET, NEW, pointer, reported);

async function expectBroken(text: string | RegExp): Promise<void> {
  expect(await verify()).toMatchObject({ verdict: 'broken', reason: expect.stringMatching(text) });
}

beforeEach(() => {
  store = memoryStore();
  const at = new Date('2026-11-23T03:00:00Z');
  grandparent = fakeSnapshot(SET, GRANDPARENT, fakeImage('a', 'b', 'c', 'd', 'e', 'f'), { frameUnits: 3 });
  // Unit 1 is zero, unit 3 is new, and units 6 to 11 are added.
  parent = fakeSnapshot(
    SET,
    PARENT,
    fakeImage('a', undefined, 'c', 'new d', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'),
    {
      parent: grandparent,
      frameUnits: 2,
    },
  );
  for (const each of [grandparent, parent]) storeSnapshot(store, each);
  const { manifestSha256 } = parent;
  pointer = promote(emptyPointer(at), { id: PARENT, manifestSha256 }, at) ?? emptyPointer(at);
});

test('a snapshot on top of the current one is sound, and its digest is that of the stored text', async () => {
  const { manifest, manifestSha256 } = save(['a', 'x', 'c', undefined, 'e', 'f', 'g', 'h', 'i']);
  expect(await verify()).toEqual({
    verdict: 'sound',
    manifest,
    vouched: { id: NEW, manifestSha256 },
  });
});

test('a whole one is sound without a pointer', async () => {
  storeSnapshot(store, fakeSnapshot(SET, NEW, fakeImage('a')));
  expect(await verifySnapshot(store, SET, NEW, emptyPointer(new Date(0)))).toMatchObject({
    verdict: 'sound',
  });
});

test('one without a manifest is missing', async () => {
  expect(await verify()).toEqual({ verdict: 'missing' });
});

describe('unsupported and not broken is', () => {
  test.each([1, 3])('format %d', async (formatVersion) => {
    save(['x'], { formatVersion } as unknown as Partial<Manifest>);
    expect(await verify()).toMatchObject({ verdict: 'unsupported' });
  });

  test.each([
    [{ os: 'darwin', arch: 'arm64', ext4Features: ['extent'] }, /darwin/],
    [{ os: 'linux', arch: 'x64', ext4Features: ['extent', 'orphan_file'] }, /orphan_file/],
  ])('the platform %j', async (platform, reason) => {
    save(['x'], { platform });
    expect(await verify()).toMatchObject({ verdict: 'unsupported', reason: expect.stringMatching(reason) });
  });
});

describe('broken is', () => {
  test('an image with errors', async () => {
    save(['x'], { e2fsck: { version: '1.47.0', exitCode: 4 } });
    await expectBroken(/e2fsck found errors in its image \(exit 4\)/);
  });

  test('a parent that the pointer does not name', async () => {
    const { manifestSha256 } = grandparent;
    pointer = { ...pointer, current: { id: GRANDPARENT, manifestSha256 } };
    save(['a', 'x']);
    await expectBroken(/parent .* neither current nor previous/);
  });

  test('a parent whose text is not the one that the pointer names', async () => {
    save(['a', 'x']);
    store.put(manifestKey(SET, PARENT), parent.text.replace('"test"', '"evil"'));
    await expectBroken(/not the text that the pointer names/);
  });

  test('a parent that is gone', async () => {
    save(['a', 'x']);
    await store.remove(manifestKey(SET, PARENT));
    await expectBroken(/manifest of its parent .* is missing/);
  });

  test('an index with other bytes', async () => {
    const { index } = save(['a', 'x']);
    const bytes = Buffer.from(index.bytes);
    bytes.writeUInt8(bytes.readUInt8(70) ^ 1, 70);
    store.put(indexKey(SET, NEW), bytes);
    await expectBroken(/another sha256/);
  });

  test('an index that breaks a rule, whatever its digest', async () => {
    const snapshot = save(['a', 'x']);
    const bytes = Buffer.from(snapshot.index.bytes);
    bytes.writeUInt32LE(2 ** 31, 64);
    store.put(indexKey(SET, NEW), bytes);
    const index = { ...snapshot.manifest.index, sha256: sha256Of(bytes) };
    store.put(manifestKey(SET, NEW), JSON.stringify({ ...snapshot.manifest, index }));
    await expectBroken(/record 0 /);
  });

  test('a wrong size of what a restore fetches', async () => {
    const { manifest } = save(['a', 'x']);
    const totals = { ...manifest.totals, storedBytes: manifest.totals.storedBytes + 1 };
    store.put(manifestKey(SET, NEW), JSON.stringify({ ...manifest, totals }));
    await expectBroken(/storedBytes instead of/);
  });

  test('a new object with bytes that no frame has', async () => {
    const snapshot = save(['a', 'x']);
    const body = Buffer.concat([snapshot.frames?.stored ?? Buffer.alloc(0), Buffer.from('smuggled')]);
    const object = framesObjectOf(NEW, body);
    store.put(framesKey(SET, NEW), body, undefined, compositeChecksum(object));
    const frames = snapshot.manifest.frames.map((each) => (each.id === NEW ? object : each));
    store.put(manifestKey(SET, NEW), JSON.stringify({ ...snapshot.manifest, frames }));
    await expectBroken(/its new object ends at byte/);
  });

  test('an object that S3 does not have, or has with another size, checksum, or none', async () => {
    const { frames } = save(['a', 'x']);
    const { stored = Buffer.alloc(0), object } = frames ?? {};
    const checksum = object && compositeChecksum(object);
    await store.remove(framesKey(SET, NEW));
    await expectBroken(/its object .* is missing/);
    store.put(framesKey(SET, NEW), stored.subarray(1), undefined, checksum);
    await expectBroken(/bytes instead of/);
    store.put(
      framesKey(SET, NEW),
      stored,
      undefined,
      checksum?.replace(/^./, (one) => (one === 'A' ? 'B' : 'A')),
    );
    await expectBroken(/another SHA-256/);
    store.put(framesKey(SET, NEW), stored, undefined, checksum?.replace('-1', '-2'));
    await expectBroken(/another SHA-256/);
    store.put(framesKey(SET, NEW), stored);
    await expectBroken(/no SHA-256/);
    store.put(framesKey(SET, NEW), stored, undefined, checksum);
    expect(await verify()).toMatchObject({ verdict: 'sound' });
  });

  test('an inherited object that is gone', async () => {
    save(['a', undefined, 'c', 'new d', 'e', 'f', 'g', 'new h']);
    await store.remove(framesKey(SET, GRANDPARENT));
    await expectBroken(/its object 20261121.* is missing/);
  });

  test('a new frame that is not as its record says, whichever it is', async () => {
    const { frames, index } = save([
      'a',
      undefined,
      'c',
      'new d',
      'e',
      'f',
      ...Array.from({ length: 30 }, String),
    ]);
    const { stored = Buffer.alloc(0), object } = frames ?? {};
    for (const number of [index.count - 1, index.count - 8]) {
      const flipped = Buffer.from(stored);
      flipped.writeUInt8(flipped.readUInt8(index.offset(number) + 5) ^ 1, index.offset(number) + 5);
      store.put(framesKey(SET, NEW), flipped, undefined, object && compositeChecksum(object));
      await expectBroken(`byte ${index.offset(number)} of object ${NEW} has another sha256`);
    }
  });

  test('a new frame that is right by its digest and does not decompress to its units', async () => {
    const { stored, sha256 } = encodeFrame(Buffer.concat([unitContent('x'), unitContent('y')]));
    const builder = indexBuilder({ imageUnits: 64, objects: 1 });
    const frame = { firstUnitInFrame: 0, frameUnits: 1, object: 0, offset: 0 };
    builder.add({ ...frame, firstUnit: 0, units: 1, storedBytes: stored.length, sha256 });
    const object = framesObjectOf(NEW, stored);
    store.put(framesKey(SET, NEW), stored, undefined, compositeChecksum(object));
    const { parent: _, ...whole } = save(['x']).manifest;
    replace({ ...parent, manifest: whole }, builder.finish(), { frames: [object] });
    store.put(framesKey(SET, NEW), stored, undefined, compositeChecksum(object));
    await expectBroken(/does not decompress to its units/);
  });
});

describe('a frame of another snapshot is inherited only from the parent:', () => {
  /** A snapshot whose index is that of the parent, with one record changed. */
  function withRecord(number: number, change: object, frames = parent.manifest.frames): void {
    const { manifest } = parent;
    const builder = indexBuilder({ imageUnits: 64, objects: frames.length });
    for (const [place, record] of [...parent.index.records()].entries()) {
      builder.add(place === number ? { ...record, ...change } : record);
    }
    replace(
      { ...parent, manifest: { ...manifest, id: NEW, parent: PARENT, startedFrom: PARENT } },
      builder.finish(),
      { frames },
    );
  }

  test('the index of the parent is fine', async () => {
    withRecord(0, {});
    expect(await verify()).toMatchObject({ verdict: 'sound' });
  });

  test.each<[string, object]>([
    ['another checksum', { sha256: Buffer.alloc(32) }],
    ['another unit of the frame', { units: 1, firstUnitInFrame: 2 }],
    ['another part of the object', { offset: 1 }],
    ['another length', { storedBytes: 5 }],
    ['another object', { object: 1 }],
  ])('not with %s', async (_, change) => {
    withRecord(parent.index.find(4) ?? -1, change);
    expect(await verify()).toMatchObject({
      verdict: 'broken',
      reason: expect.stringMatching(/its parent does not have the frame of unit/),
    });
  });

  test('not a unit of it that is zero in the parent', async () => {
    // Unit 1 was of the frame of units 0 to 2, and the parent still has the units beside it.
    const [first, second] = [parent.index.record(0), parent.index.record(1)];
    expect([first.firstUnit, second.firstUnit, first.offset]).toEqual([0, 2, second.offset]);
    const builder = indexBuilder({ imageUnits: 64, objects: 2 });
    builder.add({ ...first, units: 3 });
    for (const record of parent.index.records()) if (record.firstUnit > 2) builder.add(record);
    replace(
      { ...parent, manifest: { ...parent.manifest, id: NEW, parent: PARENT, startedFrom: PARENT } },
      builder.finish(),
    );
    await expectBroken(/its parent does not have the frame of unit 1/);
  });

  test('not a unit of it that the parent has replaced', async () => {
    // Unit 3 was of the frame of units 3 to 5, until the parent replaced it.
    const old = grandparent.index.record(1);
    const builder = indexBuilder({ imageUnits: 64, objects: 1 });
    builder.add(parent.index.record(0));
    builder.add(old);
    const frames = parent.manifest.frames.filter(({ id }) => id === GRANDPARENT);
    replace(
      { ...parent, manifest: { ...parent.manifest, id: NEW, parent: PARENT, startedFrom: PARENT } },
      builder.finish(),
      {
        frames,
      },
    );
    await expectBroken(/its parent does not have the frame of unit 3/);
  });

  test('not with an object of another digest', async () => {
    const frames = parent.manifest.frames.map((each) => ({ ...each, sha256: 'a'.repeat(64) }));
    withRecord(0, {}, frames);
    await expectBroken(/its parent does not have its object/);
  });

  test('not from a snapshot that has none: an object of a third one', async () => {
    save(['a', 'x'], {}, grandparent);
    const manifest = JSON.parse((await store.read(manifestKey(SET, NEW)))?.text ?? '') as Manifest;
    const stranger = { ...manifest.frames[0], id: '20261101T000000Z-00000000' };
    const text = JSON.stringify({
      ...manifest,
      parent: PARENT,
      startedFrom: PARENT,
      frames: [stranger, manifest.frames[1]],
    });
    store.put(manifestKey(SET, NEW), text);
    await expectBroken(/its parent does not have its object 20261101/);
  });
});

describe('a snapshot in use', () => {
  test('is verified without its parent, which may be gone', async () => {
    await store.remove(manifestKey(SET, GRANDPARENT));
    expect(await verifySnapshot(store, SET, PARENT, pointer)).toMatchObject({ verdict: 'sound' });
  });

  test('is broken with another text than the one that was promoted', async () => {
    store.put(manifestKey(SET, PARENT), `${parent.text}\n`);
    expect(await verifySnapshot(store, SET, PARENT, pointer)).toMatchObject({
      verdict: 'broken',
      reason: 'its manifest is not the one that was promoted',
    });
  });

  test('is read at the frame that a runner reports, also of an inherited object', async () => {
    const { stored = Buffer.alloc(0), object } = grandparent.frames ?? {};
    const flipped = Buffer.from(stored);
    flipped.writeUInt8(flipped.readUInt8(3) ^ 1, 3);
    store.put(framesKey(SET, GRANDPARENT), flipped, undefined, object && compositeChecksum(object));
    const verifyParent = (reported?: { object: string; offset: number }) =>
      verifySnapshot(store, SET, PARENT, pointer, reported);
    expect(await verifyParent()).toMatchObject({ verdict: 'sound' });
    expect(await verifyParent({ object: GRANDPARENT, offset: 1 })).toMatchObject({ verdict: 'sound' });
    expect(await verifyParent({ object: '../x', offset: 0 })).toMatchObject({ verdict: 'sound' });
    expect(await verifyParent({ object: GRANDPARENT, offset: 0 })).toMatchObject({ verdict: 'broken' });
  });

  test('is present while its manifest, its index and its objects are', async () => {
    const present = () => verifyPresence(store, SET, { id: PARENT, manifestSha256: parent.manifestSha256 });
    expect(await present()).toEqual({ verdict: 'sound' });
    await store.remove(framesKey(SET, GRANDPARENT));
    expect(await present()).toMatchObject({
      verdict: 'broken',
      reason: expect.stringContaining('is missing'),
    });
    await store.remove(indexKey(SET, PARENT));
    expect(await present()).toMatchObject({ reason: 'its index is missing' });
    store.put(manifestKey(SET, PARENT), `${parent.text} `);
    expect(await present()).toMatchObject({ reason: expect.stringContaining('not the text') });
    await store.remove(manifestKey(SET, PARENT));
    expect(await present()).toEqual({ verdict: 'missing' });
  });
});

describe('a snapshot of 500 GB', () => {
  const UNITS = unitsOf(500e9);
  const FRAME = encodeFrame(Buffer.concat(Array.from({ length: 16 }, () => unitContent('x'))));
  const length = FRAME.stored.length;

  /** A bucket that has the same frame at every offset, and counts calls. */
  function largeStore(...snapshots: ReturnType<typeof largeSnapshot>[]) {
    const calls: string[] = [];
    let largest = 0;
    const inner = memoryStore();
    for (const { manifest, text, bytes } of snapshots) {
      inner.put(manifestKey(SET, manifest.id), text);
      inner.put(indexKey(SET, manifest.id), bytes);
    }
    const objects = new Map(
      snapshots.flatMap(({ manifest }) => manifest.frames.map((each) => [framesKey(SET, each.id), each])),
    );
    const counted: ObjectStore = {
      ...inner,
      read(key) {
        calls.push(`read ${key}`);
        return inner.read(key);
      },
      async head(key) {
        calls.push(`head ${key}`);
        const object = objects.get(key);
        return object ? { bytes: object.bytes, checksum: compositeChecksum(object) } : inner.head(key);
      },
      async readRange(key, start, bytes) {
        calls.push(`readRange ${key}`);
        largest = Math.max(largest, bytes);
        if (!objects.has(key)) return inner.readRange(key, start, bytes);
        expect([start % length, bytes]).toEqual([0, length]);
        return FRAME.stored;
      },
    };
    return { store: counted, calls, largest: () => largest };
  }

  /** Every n-th frame is new, and the others are of the object before it. */
  function largeSnapshot(id: string, every: number, parentId?: string) {
    const builder = indexBuilder({ imageUnits: UNITS, objects: parentId === undefined ? 1 : 2 });
    const frame = {
      units: 16,
      firstUnitInFrame: 0,
      frameUnits: 16,
      storedBytes: length,
      sha256: FRAME.sha256,
    };
    let added = 0;
    let number = 0;
    for (let firstUnit = 0; firstUnit + 16 <= UNITS; firstUnit += 16) {
      const isNew = number % every === 0;
      const offset = (isNew ? added : number) * length;
      builder.add({ ...frame, firstUnit, object: isNew && parentId !== undefined ? 1 : 0, offset });
      if (isNew) added += 1;
      number += 1;
    }
    const { bytes, count } = builder.finish();
    const object = (objectId: string, frames: number) => ({
      id: objectId,
      bytes: frames * length,
      parts: 7,
      sha256: sha256Of(objectId),
    });
    const manifest: Manifest = {
      ...grandparent.manifest,
      id,
      image: { bytes: bytesOf(UNITS) },
      index: { sha256: sha256Of(bytes), bytes: bytes.length, records: count },
      frames: parentId === undefined ? [object(id, added)] : [object(parentId, number), object(id, added)],
      totals: { frames: number, storedBytes: number * length, units: number * 16 },
      ...(parentId !== undefined && { parent: parentId }),
    };
    return { manifest, text: JSON.stringify(manifest), bytes };
  }

  test('is verified with fewer than 100 calls per new object and never more than 16 MiB at a time', async () => {
    const whole = largeSnapshot(PARENT, 1);
    const night = largeSnapshot(NEW, 50, PARENT);
    expect(whole.manifest.totals.frames).toBeGreaterThan(476_000);
    const large = largeStore(whole, night);
    expect(await verifySnapshot(large.store, SET, PARENT, emptyPointer(new Date(0)))).toMatchObject({
      verdict: 'sound',
    });
    const ofWhole = large.calls.length;
    expect(ofWhole).toBeLessThan(100);
    const vouched = { id: PARENT, manifestSha256: sha256Of(whole.text) };
    expect(await verifySnapshot(large.store, SET, NEW, { ...pointer, current: vouched })).toMatchObject({
      verdict: 'sound',
    });
    expect(large.calls.length - ofWhole).toBeLessThan(100);
    expect(large.largest()).toBeLessThanOrEqual(16 * 1024 * 1024);
    const sampled = large.calls.slice(ofWhole).filter((call) => call === `readRange ${framesKey(SET, NEW)}`);
    expect(sampled).toHaveLength(16);
  }, 60_000);
});
