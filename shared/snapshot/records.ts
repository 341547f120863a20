import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { issuesText } from '../runtime/validate.ts';
import { CorruptRecord, UnsupportedFormat } from './errors.ts';
import { type FrameIndex, openIndex } from './frame-index.ts';
import { indexKey, manifestKey, pointerKey } from './layout.ts';
import { FORMAT_VERSION, MAX_MANIFEST_BYTES, type Manifest, manifestSchema } from './manifest.ts';
import { MAX_POINTER_BYTES, type Pointer, pointerSchema, type Vouched } from './pointer.ts';
import type { ObjectStore } from './store.ts';
import { unitsOf } from './units.ts';

const anyVersion = v.object({ version: v.pipe(v.number(), v.integer(), v.minValue(1)) });
const anyFormat = v.object({ formatVersion: v.pipe(v.number(), v.integer(), v.minValue(1)) });

/** Bytes of one read of an index. */
const READ_BYTES = 16 * 1024 * 1024;

/**
 * The pointer of a set and its version, or undefined if the set has none yet.
 *
 * @throws {CorruptRecord}; {UnsupportedFormat} if another version of Hearth wrote it
 */
export async function readPointer(
  store: ObjectStore,
  set: string,
): Promise<{ pointer: Pointer; etag: string } | undefined> {
  const key = pointerKey(set);
  const stored = await store.read(key, MAX_POINTER_BYTES);
  if (!stored) return undefined;
  const { version } = parseRecord(key, stored.text, anyVersion);
  if (version !== 2) {
    throw new UnsupportedFormat(
      key,
      version,
      `has version ${version}; this version of Hearth reads 2. Delete it to start anew`,
    );
  }
  return { pointer: parseRecord(key, stored.text, pointerSchema), etag: stored.etag };
}

/**
 * Writes the pointer if it is unchanged since it was read.
 *
 * @param etag of the version that was read, undefined if there was none
 * @returns whether it was written
 */
export async function writePointer(
  store: ObjectStore,
  set: string,
  pointer: Pointer,
  etag: string | undefined,
): Promise<boolean> {
  const precondition = etag === undefined ? ({ ifNoneMatch: true } as const) : { ifMatch: etag };
  return (await store.write(pointerKey(set), pointer, precondition)) !== undefined;
}

/** A manifest, and the SHA-256 of its text by which a pointer names it. */
export type ReadManifest = { manifest: Manifest; sha256: string };

/**
 * A snapshot's manifest, or undefined if there is no such snapshot.
 *
 * @throws {CorruptRecord} also if it belongs to another set or id; {UnsupportedFormat} if it has another format
 */
export async function readManifest(
  store: ObjectStore,
  set: string,
  id: string,
): Promise<ReadManifest | undefined> {
  const key = manifestKey(set, id);
  const stored = await store.read(key, MAX_MANIFEST_BYTES);
  if (!stored) return undefined;
  // Before the other fields, which another format can change in any way.
  const { formatVersion } = parseRecord(key, stored.text, anyFormat);
  if (formatVersion !== FORMAT_VERSION) {
    throw new UnsupportedFormat(
      key,
      formatVersion,
      `has format ${formatVersion}; this version reads ${FORMAT_VERSION}`,
    );
  }
  const manifest = parseRecord(key, stored.text, manifestSchema);
  if (manifest.set !== set || manifest.id !== id) {
    throw new CorruptRecord(key, `is the manifest of snapshot ${manifest.id} of set ${manifest.set}`);
  }
  return { manifest, sha256: stored.sha256 };
}

/**
 * The manifest of a snapshot that the pointer names.
 *
 * @throws {CorruptRecord} also if its text is not the one that the pointer vouches for; {UnsupportedFormat}
 */
export async function readVouchedManifest(
  store: ObjectStore,
  set: string,
  { id, manifestSha256 }: Vouched,
): Promise<Manifest | undefined> {
  const read = await readManifest(store, set, id);
  if (read && read.sha256 !== manifestSha256) {
    throw new CorruptRecord(manifestKey(set, id), 'is not the text that the pointer names');
  }
  return read?.manifest;
}

/**
 * The index of a snapshot, read in at most four pieces of 16 MiB.
 *
 * @param manifest whose text the caller trusts, or verifies now
 * @throws {CorruptRecord} if the index is missing, has another size or SHA-256 than the manifest names, or breaks a rule of the
 *   format
 */
export async function readIndex(store: ObjectStore, manifest: Manifest): Promise<FrameIndex> {
  const key = indexKey(manifest.set, manifest.id);
  const { sha256, bytes: length, records } = manifest.index;
  const size = (await store.head(key))?.bytes;
  if (size === undefined) throw new CorruptRecord(key, 'is missing');
  if (size !== length) throw new CorruptRecord(key, `has ${size} bytes instead of ${length}`);
  const bytes = Buffer.allocUnsafe(length);
  const hash = createHash('sha256');
  for (let start = 0; start < length; start += READ_BYTES) {
    const wanted = Math.min(READ_BYTES, length - start);
    const piece = await store.readRange(key, start, wanted);
    if (piece.length !== wanted) throw new CorruptRecord(key, `ends at byte ${start + piece.length}`);
    bytes.set(piece, start);
    hash.update(piece);
  }
  if (hash.digest('hex') !== sha256) throw new CorruptRecord(key, 'has another sha256');
  return openIndex(key, bytes, {
    imageUnits: unitsOf(manifest.image.bytes),
    records,
    objects: manifest.frames,
  });
}

/** @throws {CorruptRecord} if the text is no JSON or does not pass the schema */
export function parseRecord<S extends v.GenericSchema>(
  key: string,
  text: string,
  schema: S,
): v.InferOutput<S> {
  // The first problem is enough: a list of half a million bytes can have a hundred thousand, each of which takes a kilobyte.
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text, { abortEarly: true });
  if (!result.success) throw new CorruptRecord(key, issuesText(result.issues));
  return result.output;
}
