import { layersPrefix, parseSetKey, snapshotsPrefix } from '../../shared/snapshot/layout.ts';
import { CorruptRecord, readManifest } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingContext } from './context.ts';

/** A snapshot that has a manifest. */
export type StoredSnapshot = { id: string; writtenAt: Date };

/** A layer, named or not. */
export type StoredLayer = { sha256: string; writtenAt: Date };

/** Every snapshot of the set, oldest first. */
export async function listSnapshots(set: NamedSet, context: WarmingContext): Promise<StoredSnapshot[]> {
  const snapshots: StoredSnapshot[] = [];
  for await (const { key, lastModified } of context.store.list(snapshotsPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'manifest') snapshots.push({ id: parsed.id, writtenAt: lastModified });
  }
  return snapshots.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Every layer of the set. */
export async function listLayers(set: NamedSet, context: WarmingContext): Promise<StoredLayer[]> {
  const layers: StoredLayer[] = [];
  for await (const { key, lastModified } of context.store.list(layersPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'layer') layers.push({ sha256: parsed.sha256, writtenAt: lastModified });
  }
  return layers;
}

/** The layers that a snapshot's manifest names; undefined if the manifest cannot be read, none if it is gone. */
export async function layersNamedBy(
  set: NamedSet,
  id: string,
  context: WarmingContext,
): Promise<string[] | undefined> {
  try {
    const manifest = await readManifest(context.store, set.name, id);
    return manifest?.layers.map(({ sha256 }) => sha256) ?? [];
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    context.warn('a manifest cannot be read', { set: set.name, id, problem: error.message });
    return undefined;
  }
}
