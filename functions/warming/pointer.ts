import { RetryableError } from '../../shared/runtime/errors.ts';
import { emptyPointer, type Pointer, quarantine } from '../../shared/snapshot/pointer.ts';
import { readPointer, writePointer } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import type { Problem } from './verification.ts';

/** Most lost races in a row. A pointer has few writers, so more of them have another cause. */
const MAX_RACES = 5;

/**
 * Changes the pointer of a set. The change is computed again whenever another writer was first.
 *
 * @param change returns the next pointer, or undefined for no change
 * @returns the present pointer, and whether this call changed it
 */
export async function updatePointer(
  set: string,
  deps: WarmingDeps,
  change: (pointer: Pointer, now: Date) => Pointer | undefined,
): Promise<{ pointer: Pointer; changed: boolean }> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const now = deps.clock.now();
    const stored = await readPointer(deps.store, set);
    const pointer = stored?.pointer ?? emptyPointer(now);
    const next = change(pointer, now);
    if (!next) return { pointer, changed: false };
    if (await writePointer(deps.store, set, next, stored?.etag)) return { pointer: next, changed: true };
  }
  throw new RetryableError('pointer-contended', `the pointer of set ${set} lost ${MAX_RACES} races`);
}

/** Quarantines a snapshot in use that is broken. If it is current, the newest of `previous` becomes current. */
export async function rollBack(
  set: NamedSet,
  id: string,
  problem: Extract<Problem, { verdict: 'broken' | 'missing' }>,
  deps: WarmingDeps,
): Promise<{ reason: string; pointer: Pointer }> {
  const reason = problem.verdict === 'missing' ? 'its manifest is missing' : problem.reason;
  const { pointer, changed } = await updatePointer(set.name, deps, (before, at) =>
    quarantine(before, id, reason, at),
  );
  if (changed) {
    const current = pointer.current?.id ?? null;
    deps.metrics.add('QuarantinedSnapshots', 1, { Set: set.name });
    deps.logger.warn('a broken snapshot is quarantined', { set: set.name, id, reason, current });
  }
  return { reason, pointer };
}
