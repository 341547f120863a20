import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { isQuarantined } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { rollBack } from './roll-back.ts';
import { verify } from './verification.ts';

/** A snapshot found sound is not read again for this long, in milliseconds, however many machines complain. */
const TRUST_MS = 3_600_000;

/**
 * A runner says that a snapshot is broken. It may be its own disk, or a job that plays with its reports: only what is
 * read back from S3 decides. If it is broken indeed it is quarantined and the pointer moves back, once.
 *
 * @param since when the report was sent: what was read before says nothing about it
 */
export async function snapshotReportedBroken(
  set: NamedSet,
  broken: { id: string; reason: string },
  since: Date,
  context: WarmingContext,
): Promise<Outcome> {
  const pointer = (await readPointer(context.store, set.name))?.pointer;
  if (!pointer) return skipped('no-pointer');
  if (isQuarantined(pointer, broken.id)) return skipped('quarantined-already');
  const isInUse = pointer.current === broken.id || pointer.previous.includes(broken.id);
  if (!isInUse) return skipped('not-in-use');
  const { snapshots } = context.findings;
  const finding = `${set.name}/${broken.id}`;
  const now = context.clock.now().getTime();
  if (now - (snapshots.get(finding) ?? Number.NEGATIVE_INFINITY) < TRUST_MS) {
    return skipped('snapshot-is-sound', { reported: broken.reason });
  }
  const verdict = await verify(set, broken.id, since, context);
  if (verdict.verdict === 'unfinished') return retryLater('verifying', { afterSeconds: 1 });
  if (verdict.verdict === 'sound') {
    snapshots.set(finding, context.clock.now().getTime());
    context.warn('a runner reported a sound snapshot as broken', { set: set.name, ...broken });
    return skipped('snapshot-is-sound', { reported: broken.reason });
  }
  const { reason, pointer: after } = await rollBack(set, broken.id, verdict, context);
  return done({ quarantined: broken.id, reason, current: after.current });
}
