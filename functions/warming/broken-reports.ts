import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import type { FramePlace } from '../../shared/snapshot/frame.ts';
import { isQuarantined, vouchedFor } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import {
  MAX_INSTANCES,
  MAX_PROBLEM,
  recordReport,
  recordSound,
  takeVerification,
} from './broken-report-record.ts';
import { rollBack } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { verifySnapshot } from './verification.ts';

/** What a runner reports about a snapshot. */
export type BrokenReport = {
  id: string;
  reason: string;
  frame?: FramePlace | undefined;
  instanceId: string;
};

/**
 * A runner reports a broken snapshot. The cause can be its own disk, or a job that forges reports, so the snapshot is verified in
 * S3, with the frame that the report names. One that is broken there is quarantined and the pointer rolls back, once. One that is
 * sound there rolls back when three instances report the same problem: what only a runner can notice, such as an image that no
 * kernel mounts, is then not the fault of one disk. `lifecycle` passes on only what instances of groups report that boot from the set.
 */
export async function handleBrokenReport(
  set: NamedSet,
  report: BrokenReport,
  deps: WarmingDeps,
): Promise<Outcome> {
  const { id, reason: reported, frame, instanceId } = report;
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return skipped('no-pointer');
  if (isQuarantined(pointer, id)) return skipped('already-quarantined');
  if (!vouchedFor(pointer, id)) return skipped('not-in-use');
  const name = frame ? `frame at byte ${frame.offset} of ${frame.object}` : 'image';
  const about = { id, problem: name.slice(0, MAX_PROBLEM), instanceId };
  if (await takeVerification(set, about, deps)) {
    const verdict = await verifySnapshot(deps.store, set.name, id, pointer, frame);
    if (verdict.verdict === 'unsupported') return skipped('unsupported-format', { problem: verdict.reason });
    if (verdict.verdict !== 'sound') {
      const { reason, pointer: after } = await rollBack(set, id, verdict, deps);
      return done({ quarantined: id, reason, current: after.current?.id ?? null });
    }
    await recordSound(set, about, deps);
    deps.logger.warn('a runner reported a snapshot as broken that is sound in S3', {
      set: set.name,
      id,
      reason: reported,
    });
  }
  const instances = await recordReport(set, about, deps);
  if (instances < MAX_INSTANCES) return skipped('snapshot-is-sound', { reported, instances });
  const reason = `${instances} instances report its ${about.problem}: ${reported}`;
  const { pointer: after } = await rollBack(set, id, { verdict: 'broken', reason }, deps);
  return done({ quarantined: id, reason, current: after.current?.id ?? null });
}
