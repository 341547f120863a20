import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { isQuarantined, type Pointer } from '../../shared/snapshot/pointer.ts';
import type { StoredLayer } from './stored.ts';

/** A snapshot this young is left alone, in milliseconds: it may still be worth a look by whoever made it. */
const YOUNG_SNAPSHOT_MS = 24 * 3_600_000;

/** A broken snapshot is kept for this long, in milliseconds, so that somebody can find out why. */
const QUARANTINE_MS = 24 * 3_600_000;

/** After the pointer has moved, machines may for this long still fetch what it named before; in milliseconds. */
const FETCH_MS = 15 * 60_000;

/** A layer this young may belong to a manifest that is not written yet, in milliseconds. */
export const YOUNG_LAYER_MS = 24 * 3_600_000;

/**
 * Which snapshots to delete. Never one that the pointer names, one that is newer than the current one, or one of the `keep`
 * newest; broken ones after their quarantine.
 *
 * @param ids every snapshot of the set
 * @param keep how many to keep, the current one included
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
 * Which layers to delete: those that no remaining manifest names and that are older than a day.
 *
 * @param layers every layer, listed *before* the manifests were: a layer that a newer manifest names is then young
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
