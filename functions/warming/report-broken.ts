import { done, type Ending, retryLater, skipped } from '../../shared/runtime/ending.ts';
import { isQuarantined, quarantine } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { verifySnapshot } from '../../shared/snapshot/verify.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { movePointer } from './move-pointer.ts';

/** See `consider.ts`. */
const VERIFY_MS = 13 * 60_000;

/** A snapshot found sound is not read again for this long, in milliseconds, however many machines complain. */
const TRUST_MS = 3_600_000;

const foundSound = new Map<string, number>();

/**
 * A runner says that a snapshot is broken. It may be its own disk, or a job that plays with its reports: only what is
 * read back from S3 decides. If it is broken indeed it is quarantined and the pointer moves back, once.
 */
export async function snapshotReportedBroken(
  set: NamedSet,
  broken: { id: string; reason: string },
  context: WarmingContext,
): Promise<Ending> {
  const stored = await readPointer(context.store, set.name);
  if (!stored) return skipped('no-pointer');
  if (isQuarantined(stored.pointer, broken.id)) return skipped('quarantined-already');
  const known = stored.pointer.current === broken.id || stored.pointer.previous.includes(broken.id);
  if (!known) return skipped('not-in-use');
  const now = context.clock.now().getTime();
  const soundAt = foundSound.get(`${set.name}/${broken.id}`);
  if (soundAt !== undefined && now - soundAt < TRUST_MS) return skipped('snapshot-is-sound');

  const verdict = await verifySnapshot(context.store, set.name, broken.id, {
    now: () => context.clock.now().getTime(),
    until: now + VERIFY_MS,
  });
  if (verdict.verdict === 'unfinished') return retryLater('verifying', { afterSeconds: 1 });
  if (verdict.verdict === 'sound') {
    foundSound.set(`${set.name}/${broken.id}`, now);
    context.warn('a runner reported a sound snapshot as broken', { set: set.name, ...broken });
    return skipped('snapshot-is-sound', { reported: broken.reason });
  }
  const reason = verdict.verdict === 'missing' ? 'its manifest is missing' : verdict.reason;
  const { pointer } = await movePointer(set.name, context, (before, at) =>
    quarantine(before, broken.id, reason, at),
  );
  context.warn('a broken snapshot is quarantined', { set: set.name, id: broken.id, reason });
  return done({ quarantined: broken.id, reason, current: pointer.current });
}
