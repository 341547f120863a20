import { CorruptRecord, readManifest, UnsupportedFormat } from '../../shared/snapshot/format-1/records.ts';
import { layersPrefix, parseSetKey, snapshotsPrefix } from '../../shared/snapshot/layout.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

/** A snapshot that has a manifest. */
export type StoredSnapshot = { id: string; writtenAt: Date };

/** A layer, whether a manifest names it or not. */
export type StoredLayer = { sha256: string; writtenAt: Date };

/** Every snapshot of the set, oldest first. */
export async function listSnapshots(set: NamedSet, deps: WarmingDeps): Promise<StoredSnapshot[]> {
  const snapshots: StoredSnapshot[] = [];
  for await (const { key, lastModified } of deps.store.list(snapshotsPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'manifest') snapshots.push({ id: parsed.id, writtenAt: lastModified });
  }
  return snapshots.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Every layer of the set. */
export async function listLayers(set: NamedSet, deps: WarmingDeps): Promise<StoredLayer[]> {
  const layers: StoredLayer[] = [];
  for await (const { key, lastModified } of deps.store.list(layersPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'layer') layers.push({ sha256: parsed.sha256, writtenAt: lastModified });
  }
  return layers;
}

/** The layers that the manifest of a snapshot names: undefined if it is not readable, none if it does not exist. */
export async function layersNamedBy(
  set: NamedSet,
  id: string,
  { store, logger }: WarmingDeps,
): Promise<string[] | undefined> {
  try {
    const manifest = await readManifest(store, set.name, id);
    return manifest?.layers.map(({ sha256 }) => sha256) ?? [];
  } catch (error) {
    if (!(error instanceof CorruptRecord || error instanceof UnsupportedFormat)) throw error;
    logger.warn('a manifest is not readable', { set: set.name, id, problem: error.message });
    return undefined;
  }
}
