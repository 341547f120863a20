import { RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome } from '../../shared/runtime/outcome.ts';
import { UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { emptyPointer, isPromotable } from '../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { advanceRun } from './advance-run.ts';
import { listSnapshots } from './inventory.ts';
import { rollBack } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { evaluateSnapshot } from './promote-snapshot.ts';
import { prune } from './prune.ts';
import { isRunning, readRun } from './run.ts';
import { verifyPresence } from './verification.ts';

/** Age, in milliseconds, after which the event of a new snapshot counts as lost. */
const EVENT_LOST_MS = 15 * 60_000;

/**
 * Reconciles a set every few minutes, as if every event had been lost: quarantines snapshots in use that were replaced or deleted,
 * evaluates the newest snapshot whose event was lost, advances or ends the run, measures, and prunes. A retry of the evaluation
 * does not hold up the other steps: a run ends at its deadline and pruning continues while a verification fails.
 */
export async function reconcileSet(set: NamedSet, deps: WarmingDeps): Promise<Outcome> {
  const quarantined = await quarantineChanged(set, deps);
  const { missed, retry } = await evaluateMissed(set, deps);
  const stored = await readRun(set, deps);
  const failed = isRunning(stored) ? await advanceRun(set, stored, deps) : undefined;
  const current = await measure(set, deps);
  const pruned = await prune(set, deps);
  if (retry) throw retry;
  return done({
    current,
    pruned,
    ...(quarantined.length > 0 && { quarantined }),
    ...(missed !== undefined && { missed }),
    ...(failed !== undefined && { failed }),
  });
}

/**
 * Those behind the current one come first, so that a roll back never leads to one that was replaced or deleted.
 *
 * @returns the snapshots in use that are not what was promoted
 */
async function quarantineChanged(set: NamedSet, deps: WarmingDeps): Promise<string[]> {
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return [];
  const changed: string[] = [];
  for (const vouched of [...pointer.previous, ...(pointer.current ? [pointer.current] : [])]) {
    const found = await verifyPresence(deps.store, set.name, vouched);
    // A snapshot of another format is complete for the version that wrote it.
    if (found.verdict === 'sound' || found.verdict === 'unsupported') continue;
    await rollBack(set, vouched.id, found, deps);
    changed.push(vouched.id);
  }
  return changed;
}

/**
 * Evaluates the newest snapshot whose event was lost. One of an unsupported format does not hide the ones before it.
 *
 * @returns the snapshot, or the retry with which its evaluation ended
 */
async function evaluateMissed(
  set: NamedSet,
  deps: WarmingDeps,
): Promise<{ missed?: string; retry?: RetryableError }> {
  for (const missed of await missedSnapshots(set, deps)) {
    try {
      const evaluated = await evaluateSnapshot(set, missed, deps);
      const isUnsupported = evaluated.outcome === 'skipped' && evaluated.reason === 'unsupported-format';
      if (!isUnsupported) return { missed };
    } catch (error) {
      if (error instanceof RetryableError) return { retry: error };
      throw error;
    }
  }
  return {};
}

/** Newest first. */
async function missedSnapshots(set: NamedSet, deps: WarmingDeps): Promise<string[]> {
  const now = deps.clock.now();
  const pointer = (await readPointer(deps.store, set.name))?.pointer ?? emptyPointer(now);
  const missed = (await listSnapshots(set, deps)).filter(
    ({ id, writtenAt }) => now.getTime() - writtenAt.getTime() >= EVENT_LOST_MS && isPromotable(pointer, id),
  );
  return missed.map(({ id }) => id).reverse();
}

/** @returns the current snapshot */
async function measure(set: NamedSet, deps: WarmingDeps): Promise<string | null> {
  const id = (await readPointer(deps.store, set.name))?.pointer.current?.id ?? null;
  if (id === null) return null;
  const age = (deps.clock.now().getTime() - snapshotTime(id).getTime()) / 1000;
  deps.metrics.add('SnapshotAgeSeconds', Math.max(0, age), { Set: set.name });
  const bytes = await sizeOf(set, id, deps);
  if (bytes !== undefined) deps.metrics.add('SnapshotBytes', bytes, { Set: set.name });
  return id;
}

async function sizeOf(set: NamedSet, id: string, { store }: WarmingDeps): Promise<number | undefined> {
  try {
    return (await readManifest(store, set.name, id))?.manifest.totals.storedBytes;
  } catch (error) {
    if (error instanceof UnsupportedFormat) return undefined;
    throw error;
  }
}
