import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CorruptRecord } from './errors.ts';
import { decodeFrame, encodeFrame } from './frame.ts';
import {
  HEADER_BYTES,
  indexBuilder,
  MAX_INDEX_BYTES,
  openIndex,
  RECORD_BYTES,
  tilingProblem,
} from './frame-index.ts';
import { indexKey, manifestKey, pointerKey } from './layout.ts';
import { MAX_MANIFEST_BYTES } from './manifest.ts';
import { MAX_POINTER_BYTES } from './pointer.ts';
import { readIndex, readManifest, readPointer } from './records.ts';
import { planRestore } from './restore-plan.ts';
import { fakeImage, fakeSnapshot, storeSnapshot } from './testing/fake-snapshot.ts';
import { memoryStore } from './testing/memory-store.ts';
import { UNIT_BYTES } from './units.ts';

const id = '20261123T030000Z-1f2e3d4c';

/** Counts the numbers that are read of an index: the work of a check, on every computer the same. */
function counting(bytes: Buffer): { bytes: Buffer; reads: () => number } {
  let reads = 0;
  for (const name of ['readUInt8', 'readUInt32LE', 'readUIntLE'] as const) {
    const read = bytes[name] as (this: Buffer, ...args: number[]) => number;
    Object.defineProperty(bytes, name, {
      value: (...args: number[]) => {
        reads += 1;
        return read.apply(bytes, args);
      },
    });
  }
  return { bytes, reads: () => reads };
}

/**
 * The index that costs its reader most: every record is one unit of a frame of 16, and each frame is named by the records of 16
 * units with another frame in between, so that each look back meets 15 records.
 */
function worstIndex(records: number) {
  const builder = indexBuilder({ imageUnits: records + 32, objects: 1 });
  const sha256 = Buffer.alloc(32, 7);
  for (let number = 0; number < records; number += 1) {
    const firstUnit = number + 15;
    const place = { firstUnit, units: 1, firstUnitInFrame: 15, frameUnits: 16, object: 0 };
    builder.add({ ...place, offset: number, storedBytes: 1, sha256 });
  }
  const order = Array.from({ length: Math.min(records, 1000) }, (_, index) => records - 1 - index + 15);
  const { bytes } = builder.finish(order);
  return { bytes, limits: { imageUnits: records + 32, records, objects: [{ bytes: records }] } };
}

describe('the work on a hostile index', () => {
  test.each([1_000, 50_000])('of %d records is a fixed number of reads and bytes per record', (records) => {
    const worst = worstIndex(records);
    const before = process.memoryUsage().arrayBuffers;
    const { bytes, reads } = counting(worst.bytes);
    const index = openIndex('index', bytes, worst.limits);
    expect(reads() / records).toBeLessThan(150);
    // What a check keeps is a byte per record at most.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(records * 4 + 100_000);
    index.totals();
    expect(tilingProblem(index, 0, records)).toBeUndefined();
    expect(reads() / records).toBeLessThan(500);
    let fetched = 0;
    for (const { writes } of planRestore(index).fetches()) fetched += writes.length;
    expect(fetched).toBe(records);
    // One binary search per frame.
    expect(reads() / records).toBeLessThan(800);
  });

  test('with random numbers in every field ends with a refusal or a valid index', () => {
    const field = fc.oneof(
      fc.nat(40),
      fc.nat(),
      fc.constantFrom(0, 1, 15, 16, 17, 255, 2 ** 16, 2 ** 24 - 1, 2 ** 31),
    );
    const record = fc.tuple(field, field, field, field, field, field, field);
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 30 }),
        fc.array(field, { maxLength: 5 }),
        (records, order) => {
          const bytes = Buffer.alloc(HEADER_BYTES + records.length * RECORD_BYTES + order.length * 4);
          bytes.write('HEARTHIX', 'latin1');
          const header = [2, UNIT_BYTES, 64, records.length, order.length, 2];
          for (const [place, value] of header.entries()) bytes.writeUInt32LE(value, 8 + place * 4);
          for (const [
            number,
            [unit, units, inFrame, frameUnits, object, offset, stored],
          ] of records.entries()) {
            const at = HEADER_BYTES + number * RECORD_BYTES;
            bytes.writeUInt32LE(unit >>> 0, at);
            for (const [place, value] of [units, inFrame, frameUnits, object].entries())
              bytes.writeUInt8(value % 256, at + 4 + place);
            bytes.writeUIntLE(offset, at + 8, 5);
            bytes.writeUIntLE(stored % 2 ** 24, at + 13, 3);
          }
          for (const [place, value] of order.entries())
            bytes.writeUInt32LE(value >>> 0, HEADER_BYTES + records.length * RECORD_BYTES + place * 4);
          const limits = {
            imageUnits: 64,
            records: records.length,
            objects: [{ bytes: 1000 }, { bytes: 2 ** 30 }],
          };
          try {
            const index = openIndex('index', bytes, limits);
            const written = new Set<number>();
            for (const { writes, storedBytes } of planRestore(index).fetches()) {
              expect(storedBytes).toBeLessThanOrEqual(1.01 * 16 * UNIT_BYTES);
              for (const { firstUnit, units } of writes)
                for (let unit = firstUnit; unit < firstUnit + units; unit += 1) {
                  expect(unit).toBeLessThan(64);
                  expect(written.has(unit)).toBe(false);
                  written.add(unit);
                }
            }
          } catch (error) {
            expect(error).toBeInstanceOf(CorruptRecord);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a frame that claims more stored bytes than its content can need is refused, and the longest real one is not', () => {
    for (const units of [1, 2, 16]) {
      const content = Buffer.alloc(units * UNIT_BYTES);
      // Content that no compression makes smaller.
      for (let at = 0, seed = Buffer.alloc(0); at < content.length; at += 32) {
        seed = createHash('sha256').update(seed).digest();
        seed.copy(content, at);
      }
      const { stored, sha256 } = encodeFrame(content);
      const open = (storedBytes: number) => {
        const builder = indexBuilder({ imageUnits: 16, objects: 1 });
        builder.add({
          firstUnit: 0,
          units,
          firstUnitInFrame: 0,
          frameUnits: units,
          object: 0,
          offset: 0,
          storedBytes,
          sha256,
        });
        return openIndex('index', builder.finish().bytes, {
          imageUnits: 16,
          records: 1,
          objects: [{ bytes: 2 ** 30 }],
        });
      };
      expect(open(stored.length).storedBytes(0)).toBe(stored.length);
      expect(decodeFrame(stored, open(stored.length).record(0))).toHaveLength(content.length);
      expect(() => open(content.length * 1.01 + 100)).toThrow(/that no content needs/);
      expect(() => open(2 ** 24 - 1)).toThrow(CorruptRecord);
    }
  });
});

describe('a record of its largest size', () => {
  const shapes: Record<string, (bytes: number) => string> = {
    'is a list of empty lists': (bytes) => `[${'[],'.repeat(bytes / 3 - 2)}[]]`,
    'has ever deeper lists': (bytes) => '['.repeat(bytes / 2 - 1) + ']'.repeat(bytes / 2 - 1),
    'has a field with empty objects': (bytes) =>
      `{"version":2,"formatVersion":2,"previous":[${'{},'.repeat(bytes / 3 - 40)}{}],"quarantined":[],"frames":[]}`,
    'has as many fields as it can': (bytes) =>
      `{"version":2,"formatVersion":2${Array.from({ length: bytes / 12 - 10 }, (_, n) => `,"${n.toString(36).padStart(7, '_')}":1`).join('')}}`,
  };

  test.each(Object.entries(shapes))(
    '%s: it is refused, or read, within the memory of a function',
    async (_, shape) => {
      const store = memoryStore();
      store.put(pointerKey('default'), shape(MAX_POINTER_BYTES));
      store.put(manifestKey('default', id), shape(MAX_MANIFEST_BYTES));
      const before = process.memoryUsage().rss;
      await expect(readPointer(store, 'default')).rejects.toThrow(CorruptRecord);
      await expect(readManifest(store, 'default', id)).rejects.toThrow(CorruptRecord);
      // The function parameters has 256 MB.
      expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20);
    },
  );

  test('and one byte more is not read', async () => {
    const store = memoryStore();
    store.put(pointerKey('default'), ' '.repeat(MAX_POINTER_BYTES + 1));
    store.put(manifestKey('default', id), ' '.repeat(MAX_MANIFEST_BYTES + 1));
    await expect(readPointer(store, 'default')).rejects.toThrow(/more than/);
    await expect(readManifest(store, 'default', id)).rejects.toThrow(/more than/);
  });

  test('an index that the manifest announces as larger than the largest is refused before it is read', async () => {
    const store = memoryStore();
    const { manifest } = fakeSnapshot('default', id, fakeImage('a'));
    const bytes = MAX_INDEX_BYTES + 1;
    storeSnapshot(store, fakeSnapshot('default', id, fakeImage('a')));
    store.put(
      manifestKey('default', id),
      JSON.stringify({ ...manifest, index: { ...manifest.index, bytes } }),
    );
    store.readRange = () => Promise.reject(new Error('read'));
    await expect(readManifest(store, 'default', id)).rejects.toThrow(CorruptRecord);
    store.put(indexKey('default', id), 'x'.repeat(1000));
    await expect(readIndex(store, manifest)).rejects.toThrow(/has 1000 bytes/);
  });
});
