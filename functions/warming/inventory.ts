import { CorruptRecord, UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { framesPrefix, parseSetKey, snapshotsPrefix } from '../../shared/snapshot/layout.ts';
import { FORMAT_VERSION } from '../../shared/snapshot/manifest.ts';
import { readManifest } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

/** An object that carries the id of a snapshot. */
export type StoredObject = { id: string; writtenAt: Date };

/** Every snapshot of the set, oldest first: those that have a manifest. */
export async function listSnapshots(set: NamedSet, deps: WarmingDeps): Promise<StoredObject[]> {
  return (await listRecords(set, deps)).manifests;
}

/** Every manifest and every index of the set, oldest first. */
export async function listRecords(
  set: NamedSet,
  deps: WarmingDeps,
): Promise<{ manifests: StoredObject[]; indexes: StoredObject[] }> {
  const manifests: StoredObject[] = [];
  const indexes: StoredObject[] = [];
  for await (const { key, lastModified } of deps.store.list(snapshotsPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'manifest') manifests.push({ id: parsed.id, writtenAt: lastModified });
    if (parsed?.kind === 'index') indexes.push({ id: parsed.id, writtenAt: lastModified });
  }
  const byId = (a: StoredObject, b: StoredObject) => (a.id < b.id ? -1 : 1);
  return { manifests: manifests.sort(byId), indexes: indexes.sort(byId) };
}

/** Every object of frames of the set, whether a manifest names it or not. */
export async function listFrames(set: NamedSet, deps: WarmingDeps): Promise<StoredObject[]> {
  const objects: StoredObject[] = [];
  for await (const { key, lastModified } of deps.store.list(framesPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'frames') objects.push({ id: parsed.id, writtenAt: lastModified });
  }
  return objects;
}

/** Ids of the objects of frames that the manifest of a snapshot names; `unknown` if this version cannot read it. */
export async function framesNamedBy(
  set: NamedSet,
  id: string,
  { store, logger }: WarmingDeps,
): Promise<string[] | 'unknown'> {
  try {
    const read = await readManifest(store, set.name, id);
    return read?.manifest.frames.map((object) => object.id) ?? [];
  } catch (error) {
    // An earlier format has no objects of frames.
    if (error instanceof UnsupportedFormat && error.version < FORMAT_VERSION) return [];
    if (!(error instanceof CorruptRecord || error instanceof UnsupportedFormat)) throw error;
    logger.warn('a manifest is not readable', { set: set.name, id, problem: error.message });
    return 'unknown';
  }
}
