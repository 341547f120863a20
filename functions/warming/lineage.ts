import type { Manifest } from '../../shared/snapshot/manifest.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { YOUNG_LAYER_MS } from './prune-plan.ts';
import { layersNamedBy, listLayers, listSnapshots } from './stored.ts';

/** No pruning that began before this, in milliseconds, is still under way: Lambda ends an invocation after 15 minutes. */
const PRUNED_BY_THEN_MS = 30 * 60_000;

/** Pruning reckons with its own time, which may be later by as much. */
const MARGIN_MS = PRUNED_BY_THEN_MS;

/**
 * Layers of a new snapshot that a pruning under way may be about to delete, because it has listed the manifests before this
 * one was there: old layers that no other manifest names. Pruning deletes manifests before it lists what the remaining ones
 * name. So while another manifest names a layer *after* this one was written, no pruning can miss both.
 *
 * Such a snapshot was made on top of one that is pruned by now, and cannot be trusted to stay whole.
 */
export async function looseLayers(
  set: NamedSet,
  manifest: Manifest,
  context: WarmingContext,
): Promise<string[]> {
  const now = context.clock.now().getTime();
  const snapshots = await listSnapshots(set, context);
  const own = snapshots.find(({ id }) => id === manifest.id);
  if (own && now - own.writtenAt.getTime() > PRUNED_BY_THEN_MS) return [];
  const layers = await listLayers(set, context);
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
    for (const sha256 of (await layersNamedBy(set, id, context)) ?? []) named.add(sha256);
  }
  return old.filter((sha256) => !named.has(sha256));
}
