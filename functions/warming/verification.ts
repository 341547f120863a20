import { randomInt } from 'node:crypto';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { CorruptRecord, UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { BrokenFrame, decodeFrame, type FramePlace } from '../../shared/snapshot/frame.ts';
import { type FrameIndex, tilingProblem } from '../../shared/snapshot/frame-index.ts';
import { framesKey, indexKey } from '../../shared/snapshot/layout.ts';
import {
  compositeChecksum,
  type FramesObject,
  type Manifest,
  platformProblem,
  predecessorOf,
} from '../../shared/snapshot/manifest.ts';
import { isQuarantined, type Pointer, type Vouched, vouchedFor } from '../../shared/snapshot/pointer.ts';
import { readIndex, readManifest, readVouchedManifest } from '../../shared/snapshot/records.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

/**
 * Verifies a snapshot in S3 with bounded work, whatever its size: at most 4 reads of each of two indexes, one HEAD per object and
 * 17 reads of a frame. S3 vouches for the stored bytes by the SHA-256 of each object, the parent's index for the frames that the
 * snapshot shares, and a sample for the agreement of index and frames. Runners verify each frame that they fetch.
 */

/** New frames that are read, chosen at random. A maker that leaves out one frame in ten is found with a probability of 81 %. */
const SAMPLED_FRAMES = 16;

/** Calls of S3 at a time. */
const PARALLEL_CALLS = 8;

/** A problem of a snapshot, or that this version does not read its format. */
export type Problem =
  | { verdict: 'broken'; reason: string }
  | { verdict: 'missing' }
  | { verdict: 'unsupported'; reason: string };

export type Sound = { verdict: 'sound'; manifest: Manifest; vouched: Vouched };

/** Ends a verification with a verdict. */
class Found extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.verdict);
    this.problem = problem;
  }
}

/**
 * @param pointer vouches for the parent, and for the snapshot itself if it is in use
 * @param reported a frame that is read in any case
 * @throws the errors of S3: a failed read is no verdict about the snapshot
 */
export function verifySnapshot(
  store: ObjectStore,
  set: string,
  id: string,
  pointer: Pointer,
  reported?: FramePlace,
): Promise<Sound | Problem> {
  return verdictOf(async () => {
    const read = await readManifest(store, set, id);
    if (!read) throw new Found({ verdict: 'missing' });
    const { manifest, sha256 } = read;
    const unsupported = platformProblem(manifest);
    if (unsupported !== undefined) throw new Found({ verdict: 'unsupported', reason: unsupported });
    const own = vouchedFor(pointer, id);
    if (own && own.manifestSha256 !== sha256) throw broken('its manifest is not the one that was promoted');
    const predecessor = predecessorOf(manifest);
    if (!own && predecessor !== undefined && isQuarantined(pointer, predecessor)) {
      throw broken(`it was made from ${predecessor}, which is quarantined`);
    }
    const { exitCode } = manifest.e2fsck;
    if (exitCode !== 0) throw broken(`e2fsck found errors in its image (exit ${exitCode})`);
    // The parent of a snapshot in use can be gone. The digest in the pointer vouches for the result of the first verification.
    const parent = own ? undefined : await parentOf(store, pointer, manifest);
    const index = await readIndex(store, manifest);
    checkTotals(manifest, index);
    checkNewFrames(manifest, index);
    if (!own) checkInherited(manifest, index, parent);
    await checkObjects(store, manifest);
    await readFrames(store, manifest, index, reported);
    return { verdict: 'sound', manifest, vouched: { id, manifestSha256: sha256 } };
  });
}

/**
 * Verifies only that a snapshot in use is complete: its manifest is the promoted one, and its index and its objects exist with
 * their sizes and checksums.
 */
export function verifyPresence(
  store: ObjectStore,
  set: string,
  vouched: Vouched,
): Promise<{ verdict: 'sound' } | Problem> {
  return verdictOf(async () => {
    const manifest = await readVouchedManifest(store, set, vouched);
    if (!manifest) throw new Found({ verdict: 'missing' });
    await checkIndex(store, manifest);
    await checkObjects(store, manifest);
    return { verdict: 'sound' };
  });
}

async function verdictOf<T>(verification: () => Promise<T>): Promise<T | Problem> {
  try {
    return await verification();
  } catch (error) {
    if (error instanceof Found) return error.problem;
    if (error instanceof CorruptRecord) return { verdict: 'broken', reason: error.message };
    if (error instanceof UnsupportedFormat) return { verdict: 'unsupported', reason: error.message };
    if (!(error instanceof Error) || error.name !== 'NoSuchKey') throw error;
    // It existed when its size was read. The next verification finds it missing, and the snapshot broken.
    throw new RetryableError('object-vanished', 'an object was deleted during its verification', {
      cause: error,
    });
  }
}

function broken(reason: string): Found {
  return new Found({ verdict: 'broken', reason });
}

function sizeProblem(what: string, bytes: number | undefined, expected: number): string {
  return bytes === undefined ? `${what} is missing` : `${what} has ${bytes} bytes instead of ${expected}`;
}

/** The parent's manifest and index, of the snapshot that the pointer names. Undefined for a whole image. */
async function parentOf(
  store: ObjectStore,
  pointer: Pointer,
  { set, parent: id }: Manifest,
): Promise<{ manifest: Manifest; index: FrameIndex } | undefined> {
  if (id === undefined) return undefined;
  const vouched = vouchedFor(pointer, id);
  if (!vouched) throw broken(`its parent ${id} is neither current nor previous`);
  const manifest = await readVouchedManifest(store, set, vouched);
  if (!manifest) throw broken(`the manifest of its parent ${id} is missing`);
  return { manifest, index: await readIndex(store, manifest) };
}

function checkTotals({ totals }: Manifest, index: FrameIndex): void {
  const found = index.totals();
  for (const name of ['frames', 'storedBytes', 'units'] as const) {
    if (found[name] !== totals[name]) {
      throw broken(`its index has ${found[name]} ${name} instead of ${totals[name]}`);
    }
  }
}

/** Each byte of the new object belongs to one frame. */
function checkNewFrames(manifest: Manifest, index: FrameIndex): void {
  const number = manifest.frames.findIndex(({ id }) => id === manifest.id);
  const object = manifest.frames[number];
  const problem = object && tilingProblem(index, number, object.bytes);
  if (problem !== undefined) throw broken(`its new object ${problem}`);
}

/**
 * Each unit of a frame of another snapshot has the same frame in the parent, in the same object. A frame that the parent did not
 * have at this place, an older one for example, is not vouched for.
 */
function checkInherited(
  manifest: Manifest,
  index: FrameIndex,
  parent: { manifest: Manifest; index: FrameIndex } | undefined,
): void {
  const parentNumbers = manifest.frames.map((object) =>
    object.id === manifest.id
      ? undefined
      : (parent?.manifest.frames.findIndex((each) => isSameObject(each, object)) ?? -1),
  );
  const unknown = parentNumbers.indexOf(-1);
  if (unknown >= 0) throw broken(`its parent does not have its object ${manifest.frames[unknown]?.id}`);
  if (!parent) return;
  let other = 0;
  for (let number = 0; number < index.count; number += 1) {
    const parentNumber = parentNumbers[index.object(number)];
    if (parentNumber === undefined) continue;
    let at = index.firstUnit(number);
    while (other < parent.index.count && parent.index.endUnit(other) <= at) other += 1;
    while (at < index.endUnit(number)) {
      if (!hasFrame(parent.index, other, at, parentNumber, index, number)) {
        throw broken(`its parent does not have the frame of unit ${at}`);
      }
      at = parent.index.endUnit(other);
      if (at < index.endUnit(number)) other += 1;
    }
  }
}

function isSameObject(one: FramesObject, two: FramesObject): boolean {
  return one.id === two.id && one.bytes === two.bytes && one.parts === two.parts && one.sha256 === two.sha256;
}

/** Whether record `other` of the parent names unit `at`, with the frame of the record `number`. */
function hasFrame(
  parent: FrameIndex,
  other: number,
  at: number,
  parentNumber: number,
  index: FrameIndex,
  number: number,
): boolean {
  return (
    other < parent.count &&
    parent.firstUnit(other) <= at &&
    parent.object(other) === parentNumber &&
    parent.frameStart(other) === index.frameStart(number) &&
    parent.frameUnits(other) === index.frameUnits(number) &&
    parent.offset(other) === index.offset(number) &&
    parent.storedBytes(other) === index.storedBytes(number) &&
    parent.sha256(other).equals(index.sha256(number))
  );
}

/** The index exists with its size and with the SHA-256 that S3 computed at its upload. It is not read. */
async function checkIndex(store: ObjectStore, { set, id, index }: Manifest): Promise<void> {
  const head = await store.head(indexKey(set, id));
  if (head?.bytes !== index.bytes) throw broken(sizeProblem('its index', head?.bytes, index.bytes));
  if (head.checksum === undefined) throw broken('its index has no SHA-256 in S3');
  if (head.checksum !== Buffer.from(index.sha256, 'hex').toString('base64')) {
    throw broken('its index has another SHA-256 in S3');
  }
}

/** Each object of frames exists with its size and with the SHA-256 that S3 computed at its upload. */
async function checkObjects(store: ObjectStore, { set, frames }: Manifest): Promise<void> {
  await inParallel(frames, async (object) => {
    const head = await store.head(framesKey(set, object.id));
    if (head?.bytes !== object.bytes) {
      throw broken(sizeProblem(`its object ${object.id}`, head?.bytes, object.bytes));
    }
    if (head.checksum === undefined) throw broken(`its object ${object.id} has no SHA-256 in S3`);
    if (head.checksum !== compositeChecksum(object)) {
      throw broken(`its object ${object.id} has another SHA-256 in S3`);
    }
  });
}

/** Reads and decompresses a sample of the new frames, and the frame that a runner has reported. */
async function readFrames(
  store: ObjectStore,
  manifest: Manifest,
  index: FrameIndex,
  reported: FramePlace | undefined,
): Promise<void> {
  const numbers = sampleOfNewFrames(manifest, index);
  const named = reported && findFrame(manifest, index, reported);
  if (named !== undefined) numbers.push(named);
  await inParallel(numbers, async (number) => {
    const record = index.record(number);
    const { id } = manifest.frames[record.object] as FramesObject;
    const stored = await store.readRange(framesKey(manifest.set, id), record.offset, record.storedBytes);
    try {
      decodeFrame(stored, record);
    } catch (error) {
      if (!(error instanceof BrokenFrame)) throw error;
      throw broken(`its frame at byte ${record.offset} of object ${id} ${error.message}`);
    }
  });
}

/** Numbers of records of distinct new frames. A maker of a snapshot cannot predict them. */
function sampleOfNewFrames(manifest: Manifest, index: FrameIndex): number[] {
  const object = manifest.frames.findIndex(({ id }) => id === manifest.id);
  const sample: number[] = [];
  let seen = 0;
  for (let number = 0; number < index.count; number += 1) {
    if (index.object(number) !== object || !index.isFirstOfFrame(number)) continue;
    seen += 1;
    // Each frame takes a place with the same probability (reservoir sampling).
    const place = seen <= SAMPLED_FRAMES ? seen - 1 : randomInt(seen);
    if (place < SAMPLED_FRAMES) sample[place] = number;
  }
  return sample;
}

/** The number of a record of the frame at this place, or undefined if the index has no such frame. */
function findFrame(manifest: Manifest, index: FrameIndex, place: FramePlace): number | undefined {
  const object = manifest.frames.findIndex(({ id }) => id === place.object);
  for (let number = 0; number < index.count; number += 1) {
    if (index.object(number) === object && index.offset(number) === place.offset) return number;
  }
  return undefined;
}

async function inParallel<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await action(item);
  };
  await Promise.all(Array.from({ length: PARALLEL_CALLS }, worker));
}
