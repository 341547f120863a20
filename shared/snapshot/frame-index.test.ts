import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CorruptRecord } from './errors.ts';
import {
  type FrameRecord,
  HEADER_BYTES,
  indexBuilder,
  MAX_INDEX_BYTES,
  openIndex,
  RECORD_BYTES,
  tilingProblem,
} from './frame-index.ts';

const SHA = Buffer.alloc(32, 7);

/** Successive records with frames of their own, from gaps and lengths. */
const tiles = fc.array(
  fc.record({
    gap: fc.nat(5),
    frameUnits: fc.integer({ min: 1, max: 16 }),
    storedBytes: fc.integer({ min: 1, max: 64 * 1024 }),
    object: fc.nat(2),
  }),
  { minLength: 1, maxLength: 40 },
);

function recordsOf(places: { gap: number; frameUnits: number; storedBytes: number; object: number }[]) {
  const records: FrameRecord[] = [];
  const used = [...new Set(places.map(({ object }) => object))];
  const sizes = used.map(() => 0);
  let unit = 0;
  for (const { gap, frameUnits, storedBytes, object: drawn } of places) {
    const object = used.indexOf(drawn);
    const offset = sizes[object] ?? 0;
    sizes[object] = offset + storedBytes;
    unit += gap;
    const place = { firstUnit: unit, units: frameUnits, firstUnitInFrame: 0, frameUnits };
    records.push({ ...place, object, offset, storedBytes, sha256: Buffer.from(SHA) });
    unit += frameUnits;
  }
  return { records, objects: sizes.map((bytes) => ({ bytes })), imageUnits: unit };
}

test('an index is read as it was written, and its frames tile their objects', () => {
  fc.assert(
    fc.property(tiles, fc.array(fc.nat(300)), (places, first) => {
      const { records, objects, imageUnits } = recordsOf(places);
      const builder = indexBuilder({ imageUnits, objects: objects.length });
      for (const record of records) builder.add(record);
      const { bytes } = builder.finish(first);
      const index = openIndex('index', bytes, { imageUnits, records: records.length, objects });
      expect([...index.records()]).toEqual(records);
      for (const [number, { bytes: size }] of objects.entries()) {
        expect(tilingProblem(index, number, size)).toBeUndefined();
        expect(tilingProblem(index, number, size + 1)).toContain('ends at byte');
      }
      const named = [...index.fetchedFirst()];
      expect(new Set(named).size).toBe(named.length);
      for (const unit of first)
        expect(named.includes(index.find(unit) ?? -1)).toBe(index.find(unit) !== undefined);
    }),
  );
});

test('a unit is found in the record that names it, and zero units are not', () => {
  const { records, objects, imageUnits } = recordsOf([
    { gap: 2, frameUnits: 3, storedBytes: 9, object: 0 },
    { gap: 1, frameUnits: 1, storedBytes: 9, object: 0 },
  ]);
  const builder = indexBuilder({ imageUnits, objects: objects.length });
  for (const record of records) builder.add(record);
  const index = builder.finish();
  expect(Array.from({ length: 9 }, (_, unit) => index.find(unit))).toEqual([
    ...[undefined, undefined, 0, 0, 0],
    ...[undefined, 1, undefined, undefined],
  ]);
});

/** Three frames of four units in two objects, with the second and third unit of the image's first frame replaced. */
function valid() {
  const builder = indexBuilder({ imageUnits: 100, objects: 2 });
  const frame = { frameUnits: 4, sha256: SHA };
  builder.add({
    ...frame,
    firstUnit: 0,
    units: 1,
    firstUnitInFrame: 0,
    object: 0,
    offset: 0,
    storedBytes: 100,
  });
  builder.add({
    ...frame,
    firstUnit: 1,
    units: 2,
    firstUnitInFrame: 0,
    object: 1,
    offset: 0,
    storedBytes: 50,
  });
  builder.add({
    ...frame,
    firstUnit: 3,
    units: 1,
    firstUnitInFrame: 3,
    object: 0,
    offset: 0,
    storedBytes: 100,
  });
  builder.add({
    ...frame,
    firstUnit: 90,
    units: 4,
    firstUnitInFrame: 0,
    object: 0,
    offset: 100,
    storedBytes: 60,
  });
  return {
    bytes: builder.finish([91, 0]).bytes,
    limits: { imageUnits: 100, records: 4, objects: [{ bytes: 160 }, { bytes: 50 }] },
  };
}

const at = (record: number, field: number) => HEADER_BYTES + record * RECORD_BYTES + field;
const ORDER = at(4, 0);

describe('a hostile index', () => {
  test('is refused in each of these forms, and the unchanged one is not', () => {
    const { bytes, limits } = valid();
    expect(openIndex('index', bytes, limits).count).toBe(4);
  });

  test.each<[string, (bytes: Buffer) => unknown, RegExp]>([
    ['another magic', (bytes) => bytes.write('X', 0), /no index/],
    ['another version', (bytes) => bytes.writeUInt32LE(3, 8), /version 3/],
    ['another unit size', (bytes) => bytes.writeUInt32LE(4096, 12), /units of 4096 bytes/],
    ['another size of the image', (bytes) => bytes.writeUInt32LE(99, 16), /image of 99 units/],
    ['more records than the manifest', (bytes) => bytes.writeUInt32LE(5, 20), /5 records instead of 4/],
    [
      'four billion entries of the order',
      (bytes) => bytes.writeUInt32LE(2 ** 32 - 1, 24),
      /instead of 17179869/,
    ],
    ['more objects than the manifest', (bytes) => bytes.writeUInt32LE(3, 28), /3 objects/],
    ['bytes in the reserve of the header', (bytes) => bytes.writeUInt8(1, 40), /unknown bytes/],
    ['records out of order', (bytes) => bytes.writeUInt32LE(2, at(3, 0)), /record 3 overlaps/],
    ['overlapping records', (bytes) => bytes.writeUInt8(2, at(0, 4)), /record 1 overlaps/],
    [
      'the same record twice',
      (bytes) => bytes.copy(bytes, at(1, 0), at(0, 0), at(1, 0)),
      /record 1 overlaps/,
    ],
    ['a record without units', (bytes) => bytes.writeUInt8(0, at(3, 4)), /record 3 names no unit/],
    ['a record beyond its frame', (bytes) => bytes.writeUInt8(1, at(3, 5)), /record 3 ends behind its frame/],
    ['a frame of 17 units', (bytes) => bytes.writeUInt8(17, at(3, 6)), /frame of 17 units/],
    [
      'a record beyond the image',
      (bytes) => bytes.writeUInt32LE(97, at(3, 0)),
      /record 3 is beyond the image/,
    ],
    ['a frame before the image', (bytes) => bytes.writeUInt8(2, at(0, 5)), /record 0 is beyond the image/],
    ['an unknown object', (bytes) => bytes.writeUInt8(2, at(3, 7)), /record 3 names object 2/],
    [
      'a frame beyond its object',
      (bytes) => bytes.writeUIntLE(101, at(3, 8), 5),
      /record 3 is beyond its object/,
    ],
    ['a frame without bytes', (bytes) => bytes.writeUIntLE(0, at(3, 13), 3), /record 3 has an empty frame/],
    [
      'a frame of two lengths',
      (bytes) => bytes.writeUIntLE(90, at(2, 13), 3),
      /record 2 describes its frame/,
    ],
    ['a frame of two checksums', (bytes) => bytes.writeUInt8(1, at(2, 20)), /record 2 describes its frame/],
    ['an object without frames', (bytes) => bytes.writeUInt8(0, at(1, 7)), /no frame of object 1/],
    [
      'an order with a record that is not there',
      (bytes) => bytes.writeUInt32LE(4, ORDER),
      /fetches record 4/,
    ],
    ['an order with a record twice', (bytes) => bytes.writeUInt32LE(0, ORDER), /record 0 twice/],
  ])('with %s is refused', (_, change, text) => {
    const { bytes, limits } = valid();
    change(bytes);
    expect(() => openIndex('sets/x/index', bytes, limits)).toThrow(CorruptRecord);
    expect(() => openIndex('sets/x/index', bytes, limits)).toThrow(text);
  });

  test('of any other length is refused', () => {
    const { bytes, limits } = valid();
    for (const length of [0, 63, 64, bytes.length - 1]) {
      expect(() => openIndex('index', bytes.subarray(0, length), limits)).toThrow(CorruptRecord);
    }
    expect(() => openIndex('index', Buffer.concat([bytes, SHA]), limits)).toThrow(/bytes instead of/);
    expect(() => openIndex('index', Buffer.alloc(MAX_INDEX_BYTES + 1), limits)).toThrow(/more than/);
  });

  test('of random bytes never throws anything but a refusal', () => {
    const { bytes, limits } = valid();
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1 }), (changes) => {
        const copy = Buffer.from(bytes);
        for (const [place, value] of changes) copy[place] = value;
        try {
          const index = openIndex('index', copy, limits);
          for (const [object, { bytes: size }] of limits.objects.entries())
            tilingProblem(index, object, size);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptRecord);
        }
      }),
    );
  });
});

describe('frames do not tile their object', () => {
  const tiled = (change: (bytes: Buffer) => void, object = 0) => {
    const { bytes, limits } = valid();
    change(bytes);
    return tilingProblem(openIndex('index', bytes, limits), object, limits.objects[object]?.bytes ?? 0);
  };

  test.each<[string, (bytes: Buffer) => unknown, RegExp]>([
    [
      'with bytes behind the last frame',
      (bytes) => bytes.writeUIntLE(59, at(3, 13), 3),
      /at byte 160, its frames at 159/,
    ],
    [
      'with a gap',
      (bytes) => bytes.writeUIntLE(59, at(3, 13), 3) && bytes.writeUIntLE(101, at(3, 8), 5),
      /a gap at byte 100/,
    ],
    [
      'with a frame that overlaps',
      (bytes) => bytes.writeUIntLE(99, at(3, 8), 5),
      /overlapping frames at byte 99/,
    ],
    [
      'with one place that two parts of the image claim',
      (bytes) => bytes.writeUIntLE(0, at(3, 8), 5),
      /overlapping frames at byte 0/,
    ],
  ])('%s', (_, change, text) => {
    expect(tiled(change)).toMatch(text);
  });
});

test('a builder refuses what the format cannot hold', () => {
  const place = { firstUnit: 5, units: 1, firstUnitInFrame: 0, frameUnits: 1, object: 0, sha256: SHA };
  const builder = indexBuilder({ imageUnits: 100, objects: 1 });
  builder.add({ ...place, offset: 0, storedBytes: 1 });
  expect(() => builder.add({ ...place, firstUnit: 5, offset: 1, storedBytes: 1 })).toThrow(/out of order/);
  expect(() => builder.add({ ...place, firstUnit: 6, offset: 2 ** 40, storedBytes: 1 })).toThrow(
    /out of reach/,
  );
  expect(() => builder.add({ ...place, firstUnit: 6, offset: 1, storedBytes: 2 ** 24 })).toThrow(
    /out of reach/,
  );
  expect(() => indexBuilder({ imageUnits: 2 ** 32, objects: 1 })).toThrow(RangeError);
});
