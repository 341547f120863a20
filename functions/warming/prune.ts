import { layerKey, manifestKey } from '../../shared/snapshot/layout.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { layersToDelete, snapshotsToDelete } from './prune-plan.ts';
import { isRunning, readRun } from './run.ts';
import { layersNamedBy, listLayers, listSnapshots } from './stored.ts';

/**
 * Deletes what no runner can need any more: manifests first, so that a snapshot disappears whole, then the layers that
 * only they named. Does nothing while a run is under way: it may be about to name an old layer again.
 *
 * What the remaining manifests name is read after the others are deleted. A snapshot that appears meanwhile on top of one
 * of those is not promoted (`lineage.ts`); on top of any other it is in the list, or its layers are named by that other.
 */
export async function prune(
  set: NamedSet,
  context: WarmingContext,
): Promise<{ snapshots: number; layers: number }> {
  const nothing = { snapshots: 0, layers: 0 };
  if (isRunning(await readRun(set, context))) return nothing;
  const layers = await listLayers(set, context);
  const pointer = (await readPointer(context.store, set.name))?.pointer;
  if (!pointer) return nothing;
  const ids = (await listSnapshots(set, context)).map(({ id }) => id);
  const doomed = snapshotsToDelete(pointer, ids, set.keep, context.clock.now());
  for (const id of doomed) await context.store.remove(manifestKey(set.name, id));
  const named = await namedLayers(set, context);
  if (!named) return { snapshots: doomed.length, layers: 0 };
  const dead = layersToDelete(layers, named, context.clock.now());
  for (const sha256 of dead) await context.store.remove(layerKey(set.name, sha256));
  return { snapshots: doomed.length, layers: dead.length };
}

/** Undefined if a manifest cannot be read: what it names is unknown, so no layer may go. */
async function namedLayers(set: NamedSet, context: WarmingContext): Promise<Set<string> | undefined> {
  const named = new Set<string>();
  for (const { id } of await listSnapshots(set, context)) {
    const layers = await layersNamedBy(set, id, context);
    if (!layers) return undefined;
    for (const sha256 of layers) named.add(sha256);
  }
  return named;
}
