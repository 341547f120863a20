import * as v from 'valibot';
import { INSTANCE_ID } from '../../shared/fleet/names.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { CorruptRecord } from '../../shared/snapshot/errors.ts';
import type { FramePlace } from '../../shared/snapshot/frame.ts';
import { brokenReportsKey, SNAPSHOT_ID } from '../../shared/snapshot/layout.ts';
import { isQuarantined, vouchedFor } from '../../shared/snapshot/pointer.ts';
import { parseRecord, readPointer } from '../../shared/snapshot/records.ts';
import { rollBack } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { verifySnapshot } from './verification.ts';

/** Instances that have to report the same problem of a snapshot that is sound in S3. */
const MAX_INSTANCES = 3;

/** Reports count for this long, in milliseconds: broken disks of different weeks have nothing in common. */
const REPORTS_KEPT_MS = 24 * 3_600_000;

/** Most problems that are recorded, newest first. */
const MAX_PROBLEMS = 32;

/** Most characters of the name of a problem. */
const MAX_PROBLEM = 128;

/** A snapshot that was verified after a report is not verified again for the same problem for this long, in milliseconds. */
const TRUST_MS = 3_600_000;

/**
 * Most problems of a snapshot that are verified within that time. A job that forges reports of ever another frame causes no more
 * reads. The reports of three instances count in any case.
 */
const MAX_VERIFICATIONS = 8;

/** Most lost races in a row. */
const MAX_RACES = 5;

/**
 * `sets/<set>/broken-reports.json`: problems of snapshots that are sound in S3, with the instances that reported them. Deleting
 * it by hand is safe.
 */
const reportsSchema = v.object({
  version: v.literal(1),
  problems: v.pipe(
    v.array(
      v.object({
        snapshot: v.pipe(v.string(), v.regex(SNAPSHOT_ID)),
        problem: v.pipe(v.string(), v.maxLength(MAX_PROBLEM)),
        instances: v.pipe(v.array(v.pipe(v.string(), v.regex(INSTANCE_ID))), v.maxLength(MAX_INSTANCES)),
        /** When the first of them reported. */
        since: v.pipe(v.string(), v.isoTimestamp()),
      }),
    ),
    v.maxLength(MAX_PROBLEMS),
  ),
});

type Problems = v.InferOutput<typeof reportsSchema>['problems'];

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
 * kernel mounts, is then not the fault of one disk.
 */
export async function handleBrokenReport(
  set: NamedSet,
  report: BrokenReport,
  deps: WarmingDeps,
): Promise<Outcome> {
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  if (!pointer) return skipped('no-pointer');
  const { id, reason: reported, frame } = report;
  if (isQuarantined(pointer, id)) return skipped('already-quarantined');
  if (!vouchedFor(pointer, id)) return skipped('not-in-use');
  const problem = (frame ? `frame at byte ${frame.offset} of ${frame.object}` : 'image').slice(
    0,
    MAX_PROBLEM,
  );
  if (!isKnownSound(set, report, problem, deps)) {
    const verdict = await verifySnapshot(deps.store, set.name, id, pointer, frame);
    if (verdict.verdict === 'unsupported') return skipped('unsupported-format', { problem: verdict.reason });
    if (verdict.verdict !== 'sound') {
      const { reason, pointer: after } = await rollBack(set, id, verdict, deps);
      return done({ quarantined: id, reason, current: after.current?.id ?? null });
    }
    deps.soundSnapshots.set(`${set.name}/${id}/${problem}`, deps.clock.now().getTime());
    deps.logger.warn('a runner reported a snapshot as broken that is sound in S3', {
      set: set.name,
      id,
      reason: reported,
    });
  }
  const instances = await recordReport(set, report, problem, deps);
  if (instances < MAX_INSTANCES) return skipped('snapshot-is-sound', { reported, instances });
  const reason = `${instances} instances report its ${problem}: ${reported}`;
  const { pointer: after } = await rollBack(set, id, { verdict: 'broken', reason }, deps);
  return done({ quarantined: id, reason, current: after.current?.id ?? null });
}

/** Whether the problem was verified within the hour, or so many others of the snapshot that one more is not verified. */
function isKnownSound(
  set: NamedSet,
  { id }: BrokenReport,
  problem: string,
  { soundSnapshots, clock }: WarmingDeps,
): boolean {
  const now = clock.now().getTime();
  let verified = 0;
  for (const [key, since] of soundSnapshots) {
    if (now - since >= TRUST_MS) soundSnapshots.delete(key);
    else if (key.startsWith(`${set.name}/${id}/`)) verified += 1;
  }
  return verified >= MAX_VERIFICATIONS || soundSnapshots.has(`${set.name}/${id}/${problem}`);
}

/** Adds an instance to the record. @returns how many distinct instances have reported the problem of the snapshot */
async function recordReport(
  set: NamedSet,
  { id, instanceId }: BrokenReport,
  problem: string,
  { store, clock }: WarmingDeps,
): Promise<number> {
  const key = brokenReportsKey(set.name);
  for (let race = 0; race < MAX_RACES; race += 1) {
    const stored = await store.read(key);
    const now = clock.now();
    const recent = (stored ? problemsOf(key, stored.text) : []).filter(
      ({ since }) => now.getTime() - Date.parse(since) < REPORTS_KEPT_MS,
    );
    const known = recent.find((each) => each.snapshot === id && each.problem === problem);
    const instances = [...new Set([...(known?.instances ?? []), instanceId])].slice(0, MAX_INSTANCES);
    if (instances.length === known?.instances.length) return instances.length;
    const entry = { snapshot: id, problem, instances, since: known?.since ?? now.toISOString() };
    const problems = [entry, ...recent.filter((each) => each !== known)].slice(0, MAX_PROBLEMS);
    const precondition = stored ? { ifMatch: stored.etag } : ({ ifNoneMatch: true } as const);
    if (await store.write(key, { version: 1, problems }, precondition)) return instances.length;
  }
  throw new RetryableError('reports-contended', `the reports of set ${set.name} lost ${MAX_RACES} races`);
}

/** None if the record is not readable: it only delays a roll back. */
function problemsOf(key: string, text: string): Problems {
  try {
    return parseRecord(key, text, reportsSchema).problems;
  } catch (error) {
    if (error instanceof CorruptRecord) return [];
    throw error;
  }
}
