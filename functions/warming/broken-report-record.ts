import * as v from 'valibot';
import { INSTANCE_ID } from '../../shared/fleet/names.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { CorruptRecord } from '../../shared/snapshot/errors.ts';
import { brokenReportsKey, SNAPSHOT_ID } from '../../shared/snapshot/layout.ts';
import { parseRecord } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

/** Instances that have to report the same problem of a snapshot that is sound in S3. */
export const MAX_INSTANCES = 3;

/** Entries count for this long, in milliseconds: broken disks of different weeks have nothing in common. */
const KEPT_MS = 24 * 3_600_000;

/** Most problems that are recorded, newest first. */
const MAX_PROBLEMS = 32;

/** Most problems of one instance within that time. A job that forges reports of ever another frame displaces no report of others. */
const MAX_PROBLEMS_OF_INSTANCE = 4;

/** Most characters of the name of a problem. */
export const MAX_PROBLEM = 128;

/** A snapshot that was verified after a report is not verified again for the same problem for this long, in milliseconds. */
const TRUST_MS = 3_600_000;

/**
 * Most verifications of a snapshot within a day, in all invocations together, so that forged reports cause a known number of reads.
 * The reports of three instances count in any case.
 */
const MAX_VERIFICATIONS = 8;

/** Most verifications that are recorded: those of the current snapshot and of three behind it. */
const MAX_RECORDED = 4 * MAX_VERIFICATIONS;

/** Most bytes of the record: all entries at their limits have less than 16 KiB. */
const MAX_BYTES = 64 * 1024;

/** Most lost races in a row. */
const MAX_RACES = 5;

const instant = v.pipe(v.string(), v.maxLength(40), v.isoTimestamp());
const snapshot = v.pipe(v.string(), v.regex(SNAPSHOT_ID));
const problem = v.pipe(v.string(), v.maxLength(MAX_PROBLEM));

/**
 * `sets/<set>/broken-reports.json`: problems of snapshots that are sound in S3, with the instances that reported them, and the
 * verifications that the reports have caused. Deleting it by hand is safe.
 */
const recordSchema = v.object({
  version: v.literal(1),
  problems: v.pipe(
    v.array(
      v.object({
        snapshot,
        problem,
        instances: v.pipe(v.array(v.pipe(v.string(), v.regex(INSTANCE_ID))), v.maxLength(MAX_INSTANCES)),
        /** When the first of them reported. */
        since: instant,
      }),
    ),
    v.maxLength(MAX_PROBLEMS),
  ),
  /** Newest first. `isSound` is false until the verification has ended. */
  verifications: v.optional(
    v.pipe(
      v.array(v.object({ snapshot, problem, at: instant, isSound: v.boolean() })),
      v.maxLength(MAX_RECORDED),
    ),
    [],
  ),
});

type ReportRecord = v.InferOutput<typeof recordSchema>;

/** What of a snapshot an instance reports as broken. */
export type ReportedProblem = { id: string; problem: string; instanceId: string };

/**
 * Takes one of the verifications that a snapshot has per day.
 *
 * @returns false if the snapshot was found sound with the same problem within the hour, or has no verification left
 */
export async function takeVerification(
  set: NamedSet,
  { id, problem }: ReportedProblem,
  deps: WarmingDeps,
): Promise<boolean> {
  const now = deps.clock.now();
  let isTaken = false;
  await changeRecord(set, deps, (record) => {
    const ofSnapshot = record.verifications.filter((each) => each.snapshot === id);
    const isKnown = ofSnapshot.some(
      (each) => each.problem === problem && each.isSound && now.getTime() - Date.parse(each.at) < TRUST_MS,
    );
    isTaken = !isKnown && ofSnapshot.length < MAX_VERIFICATIONS;
    if (!isTaken) return undefined;
    const taken = { snapshot: id, problem, at: now.toISOString(), isSound: false };
    return { ...record, verifications: [taken, ...record.verifications].slice(0, MAX_RECORDED) };
  });
  return isTaken;
}

/** Records that the verification of a snapshot has found it sound. */
export async function recordSound(
  set: NamedSet,
  { id, problem }: ReportedProblem,
  deps: WarmingDeps,
): Promise<void> {
  await changeRecord(set, deps, (record) => ({
    ...record,
    verifications: record.verifications.map((each) =>
      each.snapshot === id && each.problem === problem ? { ...each, isSound: true } : each,
    ),
  }));
}

/** Adds an instance to the record. @returns how many distinct instances have reported the problem of the snapshot */
export async function recordReport(
  set: NamedSet,
  { id, problem, instanceId }: ReportedProblem,
  deps: WarmingDeps,
): Promise<number> {
  const now = deps.clock.now();
  let count = 1;
  await changeRecord(set, deps, (record) => {
    const { problems } = record;
    const known = problems.find((each) => each.snapshot === id && each.problem === problem);
    const instances = [...new Set([...(known?.instances ?? []), instanceId])].slice(0, MAX_INSTANCES);
    count = instances.length;
    if (count === known?.instances.length) return undefined;
    const own = problems.filter((each) => each.instances.includes(instanceId));
    if (!known && own.length >= MAX_PROBLEMS_OF_INSTANCE) return undefined;
    const entry = { snapshot: id, problem, instances, since: known?.since ?? now.toISOString() };
    return {
      ...record,
      problems: [entry, ...problems.filter((each) => each !== known)].slice(0, MAX_PROBLEMS),
    };
  });
  return count;
}

/**
 * Changes the record. The change gets the entries of the last day, and is computed again whenever another writer was first.
 *
 * @param change returns the next record, or undefined for no change
 */
async function changeRecord(
  set: NamedSet,
  { store, clock }: WarmingDeps,
  change: (record: ReportRecord) => ReportRecord | undefined,
): Promise<void> {
  const key = brokenReportsKey(set.name);
  for (let race = 0; race < MAX_RACES; race += 1) {
    const stored = await store.read(key, MAX_BYTES);
    const isRecent = (at: string) => clock.now().getTime() - Date.parse(at) < KEPT_MS;
    const { version, problems, verifications } = stored ? recordOf(key, stored.text) : EMPTY;
    const next = change({
      version,
      problems: problems.filter(({ since }) => isRecent(since)),
      verifications: verifications.filter(({ at }) => isRecent(at)),
    });
    if (!next) return;
    const precondition = stored ? { ifMatch: stored.etag } : ({ ifNoneMatch: true } as const);
    if ((await store.write(key, next, precondition)) !== undefined) return;
  }
  throw new RetryableError('reports-contended', `the reports of set ${set.name} lost ${MAX_RACES} races`);
}

const EMPTY: ReportRecord = { version: 1, problems: [], verifications: [] };

/** Empty if the record is not readable: it only delays a roll back. */
function recordOf(key: string, text: string): ReportRecord {
  try {
    return parseRecord(key, text, recordSchema);
  } catch (error) {
    if (error instanceof CorruptRecord) return EMPTY;
    throw error;
  }
}
