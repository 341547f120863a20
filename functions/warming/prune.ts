import type { Manifest } from '../../shared/snapshot/format-1/manifest.ts';
import { isQuarantined, type Pointer } from '../../shared/snapshot/format-1/pointer.ts';
import {
  CorruptRecord,
  readManifest,
  readPointer,
  UnsupportedFormat,
} from '../../shared/snapshot/format-1/records.ts';
import { layerKey, manifestKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { layersNamedBy, listLayers, listSnapshots, type StoredLayer } from './inventory.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { isRunning, readRun } from './run.ts';

/** A snapshot younger than this, in milliseconds, is kept: its run may still need it. */
const YOUNG_SNAPSHOT_MS = 24 * 3_600_000;

/** A broken snapshot is kept for this long, in milliseconds, so that an operator can find the cause. */
const QUARANTINE_MS = 24 * 3_600_000;

/** Instances may fetch what the pointer named before its last change for this long, in milliseconds. */
const FETCH_MS = 15 * 60_000;

/** A layer younger than this, in milliseconds, may belong to a manifest that is not written yet. */
const YOUNG_LAYER_MS = 24 * 3_600_000;

/**
 * No pruning that began earlier than this, in milliseconds, is still running: Lambda ends an invocation after 15 minutes, and a
 * record changes nothing after its time limit (handle.ts).
 */
const PRUNING_ENDED_MS = 30 * 60_000;

/** Pruning uses the time of its own start, which can be earlier by this much, in milliseconds. */
const MARGIN_MS = PRUNING_ENDED_MS;

/**
 * Deletes the snapshots and layers that no runner needs: first manifests, so that a snapshot disappears as a whole, then the
 * layers that only those named. Does nothing during a run, since the run may name an old layer again.
 *
 * The layers of the remaining manifests are read after the deletion. A snapshot that appears meanwhile on top of a deleted one
 * is not promoted (`unprotectedLayers`); on top of another one it is in the list, or that other one names its layers.
 */
export async function prune(
  set: NamedSet,
  deps: WarmingDeps,
): Promise<{ snapshots: number; layers: number }> {
  const nothing = { snapshots: 0, layers: 0 };
  if (isRunning(await readRun(set, deps))) return nothing;
  const layers = await listLayers(set, deps);
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return nothing;
  const ids = (await listSnapshots(set, deps)).map(({ id }) => id);
  const expired: string[] = [];
  for (const id of snapshotsToDelete(pointer, ids, set.keep, deps.clock.now())) {
    if (await hasUnsupportedFormat(set, id, deps)) continue;
    await deps.store.remove(manifestKey(set.name, id));
    expired.push(id);
  }
  const named = await namedLayers(set, deps);
  if (!named) return { snapshots: expired.length, layers: 0 };
  const unreferenced = layersToDelete(layers, named, deps.clock.now());
  for (const sha256 of unreferenced) await deps.store.remove(layerKey(set.name, sha256));
  return { snapshots: expired.length, layers: unreferenced.length };
}

/** A snapshot of a newer format belongs to another version, and only that version deletes it. */
async function hasUnsupportedFormat(set: NamedSet, id: string, { store }: WarmingDeps): Promise<boolean> {
  try {
    await readManifest(store, set.name, id);
    return false;
  } catch (error) {
    if (error instanceof UnsupportedFormat) return true;
    if (error instanceof CorruptRecord) return false;
    throw error;
  }
}

/** Undefined if a manifest is not readable: the layers that it names are unknown, so no layer is deleted. */
async function namedLayers(set: NamedSet, deps: WarmingDeps): Promise<Set<string> | undefined> {
  const named = new Set<string>();
  for (const { id } of await listSnapshots(set, deps)) {
    const layers = await layersNamedBy(set, id, deps);
    if (!layers) return undefined;
    for (const sha256 of layers) named.add(sha256);
  }
  return named;
}

/**
 * The snapshots to delete: never one that the pointer names, one that is newer than the current one, or one of the `keep`
 * newest; broken ones after their quarantine.
 *
 * @param ids every snapshot of the set
 * @param keep number of snapshots to keep, the current one included
 */
export function snapshotsToDelete(
  pointer: Pointer,
  ids: readonly string[],
  keep: number,
  now: Date,
): string[] {
  const { current } = pointer;
  if (current === null || now.getTime() - Date.parse(pointer.updatedAt) < FETCH_MS) return [];
  const old = ids.filter((id) => id <= current && !isQuarantined(pointer, id)).sort();
  const kept = new Set([current, ...pointer.previous, ...old.slice(-keep)]);
  return ids.filter((id) => {
    if (kept.has(id)) return false;
    const entry = pointer.quarantined.find((each) => each.id === id);
    if (entry) return now.getTime() - Date.parse(entry.at) > QUARANTINE_MS;
    const isYoung = now.getTime() - snapshotTime(id).getTime() <= YOUNG_SNAPSHOT_MS;
    return id < current && !isYoung;
  });
}

/**
 * The layers to delete: those that no remaining manifest names and that are older than a day.
 *
 * @param layers every layer, listed *before* the manifests: a layer that a newer manifest names is then young
 * @param named sha256 of every layer that a remaining manifest names
 */
export function layersToDelete(
  layers: readonly StoredLayer[],
  named: ReadonlySet<string>,
  now: Date,
): string[] {
  return layers
    .filter(({ sha256, writtenAt }) => {
      return !named.has(sha256) && now.getTime() - writtenAt.getTime() > YOUNG_LAYER_MS;
    })
    .map(({ sha256 }) => sha256);
}

/**
 * Old layers of a new snapshot that no other manifest names. A pruning that listed the manifests before this one was written
 * may delete them. Pruning deletes manifests before it lists the layers of the remaining ones. So while another manifest names
 * a layer *after* this manifest is written, no pruning can miss both.
 *
 * A snapshot with such a layer was made on top of a pruned one and may lose the layer, so it is not promoted.
 */
export async function unprotectedLayers(
  set: NamedSet,
  manifest: Manifest,
  deps: WarmingDeps,
): Promise<string[]> {
  const now = deps.clock.now().getTime();
  const snapshots = await listSnapshots(set, deps);
  const own = snapshots.find(({ id }) => id === manifest.id);
  if (own && now - own.writtenAt.getTime() > PRUNING_ENDED_MS) return [];
  const layers = await listLayers(set, deps);
  const young = new Set(
    layers
      .filter(({ writtenAt }) => now - writtenAt.getTime() < YOUNG_LAYER_MS - MARGIN_MS)
      .map(({ sha256 }) => sha256),
  );
  const old = manifest.layers.map(({ sha256 }) => sha256).filter((sha256) => !young.has(sha256));
  if (old.length === 0) return [];
  const named = new Set<string>();
  for (const { id } of snapshots) {
    if (id === manifest.id) continue;
    for (const sha256 of (await layersNamedBy(set, id, deps)) ?? []) named.add(sha256);
  }
  return old.filter((sha256) => !named.has(sha256));
}
