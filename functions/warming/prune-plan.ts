import { snapshotTime } from '../../shared/snapshot/layout.ts';
import type { Pointer } from '../../shared/snapshot/pointer.ts';
import { isQuarantined } from '../../shared/snapshot/pointer.ts';

/** A snapshot this young may still be waiting for its verification, in milliseconds: longer than any run may take. */
const YOUNG_SNAPSHOT_MS = 24 * 3_600_000;

/** A layer this young may belong to a manifest that is not written yet, in milliseconds. */
export const YOUNG_LAYER_MS = 24 * 3_600_000;

/**
 * Which snapshots to delete: those that are neither current nor remembered behind it nor young; and quarantined ones, which
 * nobody may mount again.
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
  const kept = new Set([pointer.current, ...pointer.previous.slice(0, Math.max(0, keep - 1))]);
  return ids.filter((id) => {
    if (pointer.current === id) return false;
    if (isQuarantined(pointer, id)) return true;
    return !kept.has(id) && now.getTime() - snapshotTime(id).getTime() > YOUNG_SNAPSHOT_MS;
  });
}

/**
 * Which layers to delete: those that no remaining manifest names and that are older than a day.
 *
 * @param layers every layer, listed *before* the manifests were: a layer that a newer manifest names is then young
 * @param named sha256 of every layer that a remaining manifest names
 */
export function layersToDelete(
  layers: readonly { sha256: string; lastModified: Date }[],
  named: ReadonlySet<string>,
  now: Date,
): string[] {
  return layers
    .filter(({ sha256, lastModified }) => {
      return !named.has(sha256) && now.getTime() - lastModified.getTime() > YOUNG_LAYER_MS;
    })
    .map(({ sha256 }) => sha256);
}
