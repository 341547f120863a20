import * as v from 'valibot';
import { issuesText } from '../../runtime/validate.ts';
import { CorruptRecord, UnsupportedFormat } from '../errors.ts';
import { manifestKey, pointerKey } from '../layout.ts';
import type { ObjectStore } from '../store.ts';
import { FORMAT_VERSION, type Manifest, manifestSchema } from './manifest.ts';
import { type Pointer, pointerSchema } from './pointer.ts';

export { CorruptRecord, UnsupportedFormat };

const anyFormat = v.object({ formatVersion: v.pipe(v.number(), v.integer(), v.minValue(1)) });

/**
 * The pointer of a set and its version, or undefined if the set has none yet.
 *
 * @throws {CorruptRecord}
 */
export async function readPointer(
  store: ObjectStore,
  set: string,
): Promise<{ pointer: Pointer; etag: string } | undefined> {
  const key = pointerKey(set);
  const stored = await store.read(key);
  return stored && { pointer: parseRecord(key, stored.text, pointerSchema), etag: stored.etag };
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

/**
 * A snapshot's manifest, or undefined if there is no such snapshot.
 *
 * @throws {CorruptRecord} also if it belongs to another set or id; {UnsupportedFormat} if its format is newer than this version
 */
export async function readManifest(
  store: ObjectStore,
  set: string,
  id: string,
): Promise<Manifest | undefined> {
  const key = manifestKey(set, id);
  const stored = await store.read(key);
  if (!stored) return undefined;
  // Before the other fields, which a newer format can change in any way.
  const { formatVersion } = parseRecord(key, stored.text, anyFormat);
  if (formatVersion > FORMAT_VERSION) {
    throw new UnsupportedFormat(
      key,
      formatVersion,
      `has format ${formatVersion}; this version reads up to ${FORMAT_VERSION}`,
    );
  }
  const manifest = parseRecord(key, stored.text, manifestSchema);
  if (manifest.set !== set || manifest.id !== id) {
    throw new CorruptRecord(key, `is the manifest of snapshot ${manifest.id} of set ${manifest.set}`);
  }
  return manifest;
}

/** @throws {CorruptRecord} if the text is no JSON or does not pass the schema */
export function parseRecord<S extends v.GenericSchema>(
  key: string,
  text: string,
  schema: S,
): v.InferOutput<S> {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (!result.success) throw new CorruptRecord(key, issuesText(result.issues));
  return result.output;
}
