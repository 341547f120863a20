import { CorruptRecord, UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { framesKey, indexKey, manifestKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { isQuarantined, type Pointer } from '../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { framesNamedBy, listFrames, listRecords, type StoredObject } from './inventory.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { isRunning, readRun } from './run.ts';

/** A snapshot younger than this, in milliseconds, is kept: its run may still need it. */
const YOUNG_SNAPSHOT_MS = 24 * 3_600_000;

/** A broken snapshot is kept for this long, in milliseconds, so that an operator can find the cause. */
const QUARANTINE_MS = 24 * 3_600_000;

/** Instances may fetch what the pointer named before its last change for this long, in milliseconds. */
const FETCH_MS = 15 * 60_000;

/**
 * An index or an object of frames younger than this, in milliseconds, may belong to a manifest that is not written yet. The date
 * of an object is the start of its upload, and a run lasts a day at most (`deadlineMinutes`, env.ts).
 */
const SAVE_MS = 48 * 3_600_000;

/** What a pruning has deleted. */
export type Pruned = { snapshots: number; objects: number };

/**
 * Deletes the snapshots that no runner needs, and the objects of frames that no remaining manifest names. A manifest names an
 * object only if its index does (verification.ts). Manifests go first, so that a snapshot disappears as a whole. Does nothing
 * during a run.
 *
 * A save can be under way, or a snapshot can appear. It shares objects only with a parent that the pointer names when it is
 * promoted. Pruning deletes no snapshot that the pointer names or that is newer than the current one, so such a parent is in the
 * list of the remaining manifests, or newer than that list; then its own objects are young, and its parent the same way vouches
 * for the others.
 */
export async function prune(set: NamedSet, deps: WarmingDeps): Promise<Pruned> {
  const nothing = { snapshots: 0, objects: 0 };
  if (isRunning(await readRun(set, deps))) return nothing;
  // Before the manifests: an object that a newer manifest names is then young.
  const frames = await listFrames(set, deps);
  const { manifests, indexes } = await listRecords(set, deps);
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return nothing;
  const expired: string[] = [];
  const ids = manifests.map(({ id }) => id);
  for (const id of snapshotsToDelete(pointer, ids, set.keep, deps.clock.now())) {
    if (await hasUnsupportedFormat(set, id, deps)) continue;
    await deps.store.remove(manifestKey(set.name, id));
    expired.push(id);
  }
  const remaining = (await listRecords(set, deps)).manifests.map(({ id }) => id);
  const complete = new Set(remaining);
  const now = deps.clock.now();
  for (const id of objectsToDelete(indexes, complete, now, expired)) {
    await deps.store.remove(indexKey(set.name, id));
  }
  const named = await namedFrames(set, remaining, deps);
  const unnamed = named ? objectsToDelete(frames, named, now) : [];
  for (const id of unnamed) await deps.store.remove(framesKey(set.name, id));
  return { snapshots: expired.length, objects: unnamed.length };
}

/** A snapshot of another format belongs to another version, and only that version deletes it. */
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

/** Undefined if a manifest is not readable: the objects that it names are unknown, so none is deleted. */
async function namedFrames(
  set: NamedSet,
  ids: readonly string[],
  deps: WarmingDeps,
): Promise<Set<string> | undefined> {
  const named = new Set<string>();
  for (const id of ids) {
    const frames = await framesNamedBy(set, id, deps);
    if (frames === 'unknown') return undefined;
    for (const object of frames) named.add(object);
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
  if (pointer.current === null || now.getTime() - Date.parse(pointer.updatedAt) < FETCH_MS) return [];
  const current = pointer.current.id;
  const old = ids.filter((id) => id <= current && !isQuarantined(pointer, id)).sort();
  const kept = new Set([current, ...pointer.previous.map(({ id }) => id), ...old.slice(-keep)]);
  return ids.filter((id) => {
    if (kept.has(id)) return false;
    const entry = pointer.quarantined.find((each) => each.id === id);
    if (entry) return now.getTime() - Date.parse(entry.at) > QUARANTINE_MS;
    const isYoung = now.getTime() - snapshotTime(id).getTime() <= YOUNG_SNAPSHOT_MS;
    return id < current && !isYoung;
  });
}

/**
 * The objects to delete: those that nothing needs and that are older than any save.
 *
 * @param objects listed *before* what needs them: an object that something newer needs is then young
 * @param needed ids of the objects that a remaining manifest names
 * @param expired ids whose manifest this pruning has deleted: their age does not matter
 */
export function objectsToDelete(
  objects: readonly StoredObject[],
  needed: ReadonlySet<string>,
  now: Date,
  expired: readonly string[] = [],
): string[] {
  return objects
    .filter(({ id, writtenAt }) => {
      const isOld = now.getTime() - writtenAt.getTime() > SAVE_MS || expired.includes(id);
      return isOld && !needed.has(id);
    })
    .map(({ id }) => id);
}
