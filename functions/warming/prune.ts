import {
  layerKey,
  layersPrefix,
  manifestKey,
  parseSetKey,
  snapshotsPrefix,
} from '../../shared/snapshot/layout.ts';
import { CorruptRecord, readManifest, readPointer } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { layersToDelete, snapshotsToDelete } from './prune-plan.ts';
import { readRun } from './run.ts';

/**
 * Deletes what no runner can need any more: manifests first, so that a snapshot disappears whole, then the layers that
 * only they named. Does nothing while a run is under way: a run may be about to name an old layer again.
 */
export async function prune(
  set: NamedSet,
  context: WarmingContext,
): Promise<{ snapshots: number; layers: number }> {
  const nothing = { snapshots: 0, layers: 0 };
  const run = await readRun(context.store, set.name);
  if (run?.run.state === 'running') return nothing;
  const layers = await listLayers(set, context);
  const stored = await readPointer(context.store, set.name);
  if (!stored) return nothing;
  const ids = await listSnapshots(set, context);
  const doomed = snapshotsToDelete(stored.pointer, ids, set.keep, context.clock.now());
  const remaining = ids.filter((id) => !doomed.includes(id));
  const named = await namedLayers(set, remaining, context);
  for (const id of doomed) await context.store.remove(manifestKey(set.name, id));
  if (!named) return { snapshots: doomed.length, layers: 0 };
  const dead = layersToDelete(layers, named, context.clock.now());
  for (const sha256 of dead) await context.store.remove(layerKey(set.name, sha256));
  return { snapshots: doomed.length, layers: dead.length };
}

/** Every snapshot of the set that has a manifest. */
export async function listSnapshots(set: NamedSet, context: WarmingContext): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of context.store.list(snapshotsPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'manifest') ids.push(parsed.id);
  }
  return ids.sort();
}

async function listLayers(set: NamedSet, context: WarmingContext) {
  const layers: { sha256: string; lastModified: Date }[] = [];
  for await (const { key, lastModified } of context.store.list(layersPrefix(set.name))) {
    const parsed = parseSetKey(key);
    if (parsed?.kind === 'layer') layers.push({ sha256: parsed.sha256, lastModified });
  }
  return layers;
}

/** Undefined if a manifest cannot be read: what it names is unknown, so no layer may go. */
async function namedLayers(
  set: NamedSet,
  ids: readonly string[],
  context: WarmingContext,
): Promise<Set<string> | undefined> {
  const named = new Set<string>();
  for (const id of ids) {
    try {
      const manifest = await readManifest(context.store, set.name, id);
      for (const layer of manifest?.layers ?? []) named.add(layer.sha256);
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      context.warn('no layer is pruned: a manifest cannot be read', {
        set: set.name,
        id,
        problem: error.message,
      });
      return undefined;
    }
  }
  return named;
}
