import { RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import {
  emptyPointer,
  isQuarantined,
  type Pointer,
  quarantine,
} from '../../shared/snapshot/format-1/pointer.ts';
import { readPointer, writePointer } from '../../shared/snapshot/format-1/records.ts';
import type { Problem } from '../../shared/snapshot/format-1/verify.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { verify } from './verification.ts';

/** Most lost races in a row. A pointer has few writers, so more of them have another cause. */
const MAX_RACES = 5;

/** A snapshot that was verified after a report is not verified again for this long, in milliseconds. */
const TRUST_MS = 3_600_000;

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

/** Quarantines a snapshot in use that is broken. If it is current, the snapshot before it becomes current. */
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
    const { current } = pointer;
    deps.logger.warn('a broken snapshot is quarantined', { set: set.name, id, reason, current });
  }
  return { reason, pointer };
}

/**
 * A runner reports a broken snapshot. The cause can be its own disk, or a job that forges reports, so only a verification in S3
 * decides. A snapshot that is broken in S3 is quarantined and the pointer rolls back, once.
 *
 * @param sentAt when the report was sent: an earlier verification is no answer to it
 */
export async function handleBrokenReport(
  set: NamedSet,
  broken: { id: string; reason: string },
  sentAt: Date,
  deps: WarmingDeps,
): Promise<Outcome> {
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return skipped('no-pointer');
  if (isQuarantined(pointer, broken.id)) return skipped('already-quarantined');
  const isInUse = pointer.current === broken.id || pointer.previous.includes(broken.id);
  if (!isInUse) return skipped('not-in-use');
  const key = `${set.name}/${broken.id}`;
  const now = deps.clock.now().getTime();
  const soundSince = deps.soundSnapshots.get(key) ?? Number.NEGATIVE_INFINITY;
  if (soundSince >= sentAt.getTime() || now - soundSince < TRUST_MS) {
    return skipped('snapshot-is-sound', { reported: broken.reason });
  }
  const verdict = await verify(set, broken.id, deps);
  switch (verdict.verdict) {
    case 'busy':
      return retryLater('verification-in-progress', { afterSeconds: secondsUntil(verdict.until, now) });
    case 'sound':
      deps.soundSnapshots.set(key, deps.clock.now().getTime());
      deps.logger.warn('a runner reported a sound snapshot as broken', { set: set.name, ...broken });
      return skipped('snapshot-is-sound', { reported: broken.reason });
    case 'unsupported':
      return skipped('unsupported-format', { problem: verdict.reason });
    default: {
      const { reason, pointer: after } = await rollBack(set, broken.id, verdict, deps);
      return done({ quarantined: broken.id, reason, current: after.current });
    }
  }
}

/** Whole seconds from `now` (milliseconds since 1970) to `at`, at least 1. */
export function secondsUntil(at: Date, now: number): number {
  return Math.max(1, Math.ceil((at.getTime() - now) / 1000));
}
