import { CorruptRecord } from './errors.ts';
import { bytesOf, MAX_FRAME_UNITS, MAX_IMAGE_UNITS, UNIT_BYTES } from './units.ts';

/**
 * The index of a snapshot: which units of the image have content, and which frame holds it. All numbers are little-endian.
 *
 *     header   8 magic "HEARTHIX", 4 version, 4 bytes of a unit, 4 units of the image, 4 records, 4 entries of the fetch order,
 *              4 objects, 32 zero
 *     records  48 bytes each, sorted by their first unit, without overlap:
 *              4 first unit, 1 units, 1 first unit within the frame, 1 units of the frame, 1 object, 5 offset in the object,
 *              3 stored bytes of the frame, 32 sha256 of the stored bytes
 *     order    4 bytes each: the numbers of the records that a restore fetches first. The others follow in their own order
 *
 * A frame holds up to 16 successive units of the image. Several records name one frame when later snapshots have replaced units
 * in between; only the units that a record names are written. A unit without a record is zero. An object is a number in the
 * manifest's list `frames`.
 */

const MAGIC = Buffer.from('HEARTHIX', 'latin1');
const VERSION = 2;

/** Bytes of the header and of a record. */
export const HEADER_BYTES = 64;
export const RECORD_BYTES = 48;
const ORDER_BYTES = 4;

/** Most bytes of an index. A save joins units to longer frames beyond it; a reader refuses a longer index before it reads it. */
export const MAX_INDEX_BYTES = 64 * 1024 * 1024;

/** Largest offset in an object and largest frame that a record can name: 5 and 3 bytes. */
const MAX_OFFSET = 2 ** 40 - 1;
const MAX_STORED_BYTES = 2 ** 24 - 1;

const SHA256_BYTES = 32;

/** A run of units that one frame holds. */
export type FrameRecord = {
  firstUnit: number;
  units: number;
  /** Where the run begins in the frame, in units. */
  firstUnitInFrame: number;
  /** Units of the whole frame. */
  frameUnits: number;
  /** Number of the object in the manifest's list `frames`. */
  object: number;
  /** Of the frame in the object. */
  offset: number;
  storedBytes: number;
  /** Of the stored bytes of the frame, 32 bytes. */
  sha256: Uint8Array;
};

/** What an index must agree with: a part of the manifest. */
export type IndexLimits = {
  imageUnits: number;
  /** Undefined while the index is being made. */
  records?: number;
  /** The manifest's list `frames`. */
  objects: readonly { bytes: number }[];
};

/** Content of an index: what a restore without a base fetches and writes. */
export type IndexTotals = { frames: number; storedBytes: number; units: number };

/**
 * An index in memory. It holds the bytes as they are stored, so an index of a terabyte takes 64 MiB and no object per record.
 * `openIndex` is the only way to one from stored bytes: an instance always has valid content.
 */
export class FrameIndex {
  /** The stored form. */
  readonly bytes: Buffer;
  readonly imageUnits: number;
  /** Number of records. */
  readonly count: number;
  readonly objects: number;
  readonly #orderCount: number;

  /** @param bytes a complete index whose header is valid */
  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.imageUnits = bytes.readUInt32LE(16);
    this.count = bytes.readUInt32LE(20);
    this.#orderCount = bytes.readUInt32LE(24);
    this.objects = bytes.readUInt32LE(28);
  }

  firstUnit(number: number): number {
    return this.bytes.readUInt32LE(HEADER_BYTES + number * RECORD_BYTES);
  }

  units(number: number): number {
    return this.bytes.readUInt8(HEADER_BYTES + number * RECORD_BYTES + 4);
  }

  /** The unit after the last one of a record. */
  endUnit(number: number): number {
    return this.firstUnit(number) + this.units(number);
  }

  firstUnitInFrame(number: number): number {
    return this.bytes.readUInt8(HEADER_BYTES + number * RECORD_BYTES + 5);
  }

  frameUnits(number: number): number {
    return this.bytes.readUInt8(HEADER_BYTES + number * RECORD_BYTES + 6);
  }

  /** The unit of the image that the first unit of the record's frame had. */
  frameStart(number: number): number {
    return this.firstUnit(number) - this.firstUnitInFrame(number);
  }

  object(number: number): number {
    return this.bytes.readUInt8(HEADER_BYTES + number * RECORD_BYTES + 7);
  }

  offset(number: number): number {
    return this.bytes.readUIntLE(HEADER_BYTES + number * RECORD_BYTES + 8, 5);
  }

  storedBytes(number: number): number {
    return this.bytes.readUIntLE(HEADER_BYTES + number * RECORD_BYTES + 13, 3);
  }

  /** A view, not a copy. */
  sha256(number: number): Buffer {
    const start = HEADER_BYTES + number * RECORD_BYTES + 16;
    return this.bytes.subarray(start, start + SHA256_BYTES);
  }

  record(number: number): FrameRecord {
    return {
      firstUnit: this.firstUnit(number),
      units: this.units(number),
      firstUnitInFrame: this.firstUnitInFrame(number),
      frameUnits: this.frameUnits(number),
      object: this.object(number),
      offset: this.offset(number),
      storedBytes: this.storedBytes(number),
      sha256: this.sha256(number),
    };
  }

  *records(): Generator<FrameRecord> {
    for (let number = 0; number < this.count; number += 1) yield this.record(number);
  }

  /** The number of the first record that ends behind `unit`; `count` if there is none. */
  firstEndingAfter(unit: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.endUnit(middle) > unit) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The number of the record that names `unit`, or undefined if the unit is zero. */
  find(unit: number): number | undefined {
    const number = this.firstEndingAfter(unit);
    return number < this.count && this.firstUnit(number) <= unit ? number : undefined;
  }

  /** Whether two records of this index name the same frame: the same stored bytes for the same place of the image. */
  isSameFrame(one: number, two: number): boolean {
    return (
      this.frameStart(one) === this.frameStart(two) &&
      this.object(one) === this.object(two) &&
      this.offset(one) === this.offset(two)
    );
  }

  /** Whether no earlier record names the frame of this one. A frame has 16 units, so at most 15 records are in between. */
  isFirstOfFrame(number: number): boolean {
    const start = this.frameStart(number);
    for (let before = number - 1; before >= 0 && this.endUnit(before) > start; before -= 1) {
      if (this.isSameFrame(before, number)) return false;
    }
    return true;
  }

  /** The numbers of the records that name the frame of `number`, in order. */
  recordsOfFrame(number: number): number[] {
    const start = this.frameStart(number);
    const end = start + this.frameUnits(number);
    const same: number[] = [];
    for (
      let each = this.firstEndingAfter(start);
      each < this.count && this.firstUnit(each) < end;
      each += 1
    ) {
      if (this.isSameFrame(each, number)) same.push(each);
    }
    return same;
  }

  /** The numbers of the records that a restore fetches first. */
  *fetchedFirst(): Generator<number> {
    const start = HEADER_BYTES + this.count * RECORD_BYTES;
    for (let entry = 0; entry < this.#orderCount; entry += 1) {
      yield this.bytes.readUInt32LE(start + entry * ORDER_BYTES);
    }
  }

  totals(): IndexTotals {
    const totals = { frames: 0, storedBytes: 0, units: 0 };
    for (let number = 0; number < this.count; number += 1) {
      totals.units += this.units(number);
      if (!this.isFirstOfFrame(number)) continue;
      totals.frames += 1;
      totals.storedBytes += this.storedBytes(number);
    }
    return totals;
  }
}

/**
 * The index in `bytes`, after every rule of the format is checked. The time is linear in the size, and nothing is allocated per
 * record.
 *
 * @param key of the object, for messages
 * @param bytes at most `MAX_INDEX_BYTES`; the caller has compared their sha256 with the manifest
 * @throws {CorruptRecord} that names the first rule that does not hold
 */
export function openIndex(key: string, bytes: Buffer, limits: IndexLimits): FrameIndex {
  const problem = headerProblem(bytes, limits);
  if (problem !== undefined) throw new CorruptRecord(key, problem);
  const index = new FrameIndex(bytes);
  const wrong = recordsProblem(index, limits) ?? orderProblem(index);
  if (wrong !== undefined) throw new CorruptRecord(key, wrong);
  return index;
}

function headerProblem(bytes: Buffer, { imageUnits, records, objects }: IndexLimits): string | undefined {
  if (bytes.length > MAX_INDEX_BYTES) return `has ${bytes.length} bytes, more than ${MAX_INDEX_BYTES}`;
  if (bytes.length < HEADER_BYTES) return 'is shorter than a header';
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return 'is no index';
  const [version, unit, units, count, order, used] = [8, 12, 16, 20, 24, 28].map((at) =>
    bytes.readUInt32LE(at),
  );
  if (version !== VERSION) return `has version ${version} instead of ${VERSION}`;
  if (unit !== UNIT_BYTES) return `has units of ${unit} bytes instead of ${UNIT_BYTES}`;
  if (units !== imageUnits) return `is of an image of ${units} units instead of ${imageUnits}`;
  if (records !== undefined && count !== records) return `has ${count} records instead of ${records}`;
  if (used !== objects.length) return `names ${used} objects instead of ${objects.length}`;
  if (bytes.subarray(32, HEADER_BYTES).some((byte) => byte !== 0)) return 'has unknown bytes in its header';
  const expected = HEADER_BYTES + (count ?? 0) * RECORD_BYTES + (order ?? 0) * ORDER_BYTES;
  return bytes.length === expected ? undefined : `has ${bytes.length} bytes instead of ${expected}`;
}

function recordsProblem(index: FrameIndex, limits: IndexLimits): string | undefined {
  const used = new Uint8Array(limits.objects.length);
  let end = 0;
  for (let number = 0; number < index.count; number += 1) {
    const problem = recordProblem(index, number, end, limits);
    if (problem !== undefined) return `record ${number} ${problem}`;
    end = index.endUnit(number);
    used[index.object(number)] = 1;
  }
  const unused = used.indexOf(0);
  return unused < 0 ? undefined : `names no frame of object ${unused}`;
}

function recordProblem(
  index: FrameIndex,
  number: number,
  end: number,
  { imageUnits, objects }: IndexLimits,
): string | undefined {
  const units = index.units(number);
  const frameUnits = index.frameUnits(number);
  if (units < 1) return 'names no unit';
  if (index.firstUnit(number) < end) return 'overlaps the one before it, or is out of order';
  if (frameUnits > MAX_FRAME_UNITS) return `has a frame of ${frameUnits} units, more than ${MAX_FRAME_UNITS}`;
  if (index.firstUnitInFrame(number) + units > frameUnits) return 'ends behind its frame';
  const start = index.frameStart(number);
  if (start < 0 || start + frameUnits > imageUnits) return 'is beyond the image';
  const object = objects[index.object(number)];
  if (!object) return `names object ${index.object(number)}, which the manifest does not`;
  if (index.storedBytes(number) < 1) return 'has an empty frame';
  if (index.storedBytes(number) > mostStoredBytes(frameUnits)) return 'has a frame that no content needs';
  if (contradicts(index, number)) return 'describes its frame in another way than one before it';
  return index.offset(number) + index.storedBytes(number) <= object.bytes
    ? undefined
    : 'is beyond its object';
}

/**
 * Most stored bytes of a frame: what zstd makes of content that it cannot compress (`ZSTD_compressBound`, zstd.h, for 64 KiB and more).
 * So a reader that has a number of frames in memory has a known number of bytes there, whatever an index names.
 */
function mostStoredBytes(frameUnits: number): number {
  const content = bytesOf(frameUnits);
  return content + content / 256 + 64;
}

/** Whether an earlier record of the same frame gives it another size or SHA-256. */
function contradicts(index: FrameIndex, number: number): boolean {
  const start = index.frameStart(number);
  for (let before = number - 1; before >= 0 && index.endUnit(before) > start; before -= 1) {
    if (!index.isSameFrame(before, number)) continue;
    return (
      index.frameUnits(before) !== index.frameUnits(number) ||
      index.storedBytes(before) !== index.storedBytes(number) ||
      !index.sha256(before).equals(index.sha256(number))
    );
  }
  return false;
}

function orderProblem(index: FrameIndex): string | undefined {
  const seen = new Uint8Array(index.count);
  for (const number of index.fetchedFirst()) {
    if (number >= index.count) return `fetches record ${number}, which it does not have`;
    if (seen[number] === 1) return `fetches record ${number} twice`;
    seen[number] = 1;
  }
  return undefined;
}

/**
 * Why the frames of an object do not tile it, or undefined if each of its bytes belongs to exactly one frame. A frame that an
 * object contains and no record names could not be verified, and one that overlaps another one has no origin.
 */
export function tilingProblem(index: FrameIndex, object: number, bytes: number): string | undefined {
  let frames = 0;
  for (let number = 0; number < index.count; number += 1) {
    if (index.object(number) === object && index.isFirstOfFrame(number)) frames += 1;
  }
  // Offset and length side by side in 64 bits, so that one native sort without a comparison function orders them.
  const places = new BigUint64Array(frames);
  const halves = new Uint32Array(places.buffer);
  let next = 0;
  for (let number = 0; number < index.count; number += 1) {
    if (index.object(number) !== object || !index.isFirstOfFrame(number)) continue;
    const offset = index.offset(number);
    halves[next] = (((offset % 256) << 24) | index.storedBytes(number)) >>> 0;
    halves[next + 1] = Math.floor(offset / 256);
    next += 2;
  }
  places.sort();
  let end = 0;
  for (let frame = 0; frame < frames; frame += 1) {
    const low = halves[frame * 2] ?? 0;
    const offset = (halves[frame * 2 + 1] ?? 0) * 256 + (low >>> 24);
    if (offset !== end)
      return `has ${offset < end ? 'overlapping frames' : 'a gap'} at byte ${Math.min(offset, end)}`;
    end = offset + (low & MAX_STORED_BYTES);
  }
  return end === bytes ? undefined : `ends at byte ${bytes}, its frames at ${end}`;
}

/**
 * Makes an index. Records are added in the order of their units; memory is the stored size and, while it grows, half of it again.
 *
 *     const builder = indexBuilder({ imageUnits, objects: 1 });
 *     for (const record of records) builder.add(record);
 *     const index = builder.finish(unitsOfMetadata);
 */
export function indexBuilder({ imageUnits, objects }: { imageUnits: number; objects: number }) {
  if (imageUnits < 1 || imageUnits > MAX_IMAGE_UNITS) {
    throw new RangeError(`an image has 1 to ${MAX_IMAGE_UNITS} units, not ${imageUnits}`);
  }
  let bytes = Buffer.alloc(HEADER_BYTES + 1024 * RECORD_BYTES);
  let count = 0;
  let end = 0;

  function reserve(length: number): void {
    if (length > MAX_INDEX_BYTES) throw new IndexTooLarge(count);
    if (length <= bytes.length) return;
    const larger = Buffer.alloc(Math.min(MAX_INDEX_BYTES, Math.max(length, Math.ceil(bytes.length * 1.5))));
    bytes.copy(larger);
    bytes = larger;
  }

  return {
    /** @throws {RangeError} if the record breaks a rule of the format; {IndexTooLarge} */
    add(record: FrameRecord): void {
      const at = HEADER_BYTES + count * RECORD_BYTES;
      reserve(at + RECORD_BYTES);
      if (record.firstUnit < end || record.units < 1) {
        throw new RangeError(`record of unit ${record.firstUnit} is out of order, or empty`);
      }
      if (record.offset > MAX_OFFSET || record.storedBytes > MAX_STORED_BYTES) {
        throw new RangeError(`frame of ${record.storedBytes} bytes at ${record.offset} is out of reach`);
      }
      bytes.writeUInt32LE(record.firstUnit, at);
      bytes.writeUInt8(record.units, at + 4);
      bytes.writeUInt8(record.firstUnitInFrame, at + 5);
      bytes.writeUInt8(record.frameUnits, at + 6);
      bytes.writeUInt8(record.object, at + 7);
      bytes.writeUIntLE(record.offset, at + 8, 5);
      bytes.writeUIntLE(record.storedBytes, at + 13, 3);
      if (record.sha256.length !== SHA256_BYTES) throw new RangeError('a sha256 has 32 bytes');
      bytes.set(record.sha256, at + 16);
      end = record.firstUnit + record.units;
      count += 1;
    },

    /**
     * The complete index. Its `bytes` are what is stored.
     *
     * @param fetchFirst units of the image that a restore needs first, in order, such as those of ext4's metadata. Units that are
     *   zero, and further units of a record, are passed over
     */
    finish(fetchFirst: Iterable<number> = []): FrameIndex {
      MAGIC.copy(bytes);
      for (const [place, value] of [VERSION, UNIT_BYTES, imageUnits, count, 0, objects].entries()) {
        bytes.writeUInt32LE(value, MAGIC.length + place * 4);
      }
      const index = new FrameIndex(bytes);
      const order: number[] = [];
      const seen = new Uint8Array(count);
      for (const unit of fetchFirst) {
        const number = index.find(unit);
        if (number === undefined || seen[number] === 1) continue;
        seen[number] = 1;
        order.push(number);
      }
      const start = HEADER_BYTES + count * RECORD_BYTES;
      const length = start + order.length * ORDER_BYTES;
      reserve(length);
      bytes.writeUInt32LE(order.length, 24);
      for (const [entry, number] of order.entries()) bytes.writeUInt32LE(number, start + entry * ORDER_BYTES);
      return new FrameIndex(bytes.subarray(0, length));
    },
  };
}

/** An index would exceed `MAX_INDEX_BYTES`: the save has to join units to longer frames. */
export class IndexTooLarge extends Error {
  override readonly name = 'IndexTooLarge';

  constructor(records: number) {
    super(`the index has more than ${records} records, which exceeds ${MAX_INDEX_BYTES} bytes`);
  }
}
