import * as v from 'valibot';
import { INSTANCE_ID, parseGroupId } from '../../shared/fleet/names.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

/** Why an instance is replaced. The first two are faults of one instance, the others are planned. */
export const CAUSES = ['unhealthy', 'no-agent', 'lifetime', 'outdated'] as const;
export type Cause = (typeof CAUSES)[number];

/** Time for which a replacement counts, in milliseconds. */
const HOUR_MS = 3_600_000;

/** Replacements for a fault that a group may have in an hour: so many, or this share of its desired capacity if that is more. */
const FAULTS_PER_HOUR = 4;
const FAULT_SHARE = 0.2;

/** Most lost races in a row. */
const MAX_RACES = 5;

const instant = v.pipe(v.string(), v.isoTimestamp());
const instanceId = v.pipe(v.string(), v.regex(INSTANCE_ID));
const cause = v.picklist(CAUSES);

/**
 * `lifecycle/<provider>/<name>.json`: what `lifecycle` remembers about the instances of a runner group. Deleting it by hand is safe:
 * the ages of its instances begin anew.
 */
const groupRecordSchema = v.object({
  version: v.literal(1),
  /** When each instance was first seen. Auto Scaling does not name the time of a launch. */
  seen: v.record(instanceId, instant),
  /** Replacements of the last hour, also those that were begun by a report. */
  replaced: v.array(v.object({ instanceId, cause, at: instant })),
  /** Instances that are to be replaced and are not yet, with the time since when. */
  due: v.record(instanceId, v.object({ cause, since: instant })),
  /** When the drain of each instance was noted: at its first heartbeat in groups whose drains have a limit, else after an hour. */
  draining: v.optional(v.record(instanceId, instant), {}),
});
export type GroupRecord = v.InferOutput<typeof groupRecordSchema>;

export type RecordDeps = {
  store: Pick<ObjectStore, 'read' | 'write'>;
  clock: Clock;
  logger: Pick<Logger, 'warn'>;
};

type StoredRecord = { record: GroupRecord; etag: string | undefined };

/** @param group `<provider>/<name>` */
export function groupRecordKey(group: string): string {
  return `lifecycle/${group}.json`;
}

/**
 * The record without replacements that are older than an hour. One that is not readable is replaced: it delays replacements, and
 * could hold them for ever.
 */
export async function readGroupRecord(
  group: string,
  { store, clock, logger }: RecordDeps,
): Promise<StoredRecord> {
  if (!parseGroupId(group)) throw new Error(`${group} is no id of a runner group`);
  const empty: GroupRecord = { version: 1, seen: {}, replaced: [], due: {}, draining: {} };
  const stored = await store.read(groupRecordKey(group));
  if (!stored) return { record: empty, etag: undefined };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), groupRecordSchema), stored.text);
  if (!parsed.success) {
    logger.warn('record of a group replaced, since it cannot be read', { key: groupRecordKey(group) });
    return { record: empty, etag: stored.etag };
  }
  const now = clock.now().getTime();
  const replaced = parsed.output.replaced.filter(({ at }) => now - Date.parse(at) < HOUR_MS);
  return { record: { ...parsed.output, replaced }, etag: stored.etag };
}

/** @returns whether it was written; another writer may have been first */
export async function writeGroupRecord(
  group: string,
  record: GroupRecord,
  etag: string | undefined,
  { store }: RecordDeps,
): Promise<boolean> {
  const precondition = etag === undefined ? ({ ifNoneMatch: true } as const) : { ifMatch: etag };
  return (await store.write(groupRecordKey(group), record, precondition)) !== undefined;
}

/** How many replacements for a fault the group may have now. */
export function faultsLeft({ replaced }: GroupRecord, desired: number): number {
  const faults = replaced.filter((one) => one.cause === 'unhealthy' || one.cause === 'no-agent').length;
  return Math.max(FAULTS_PER_HOUR, Math.ceil(desired * FAULT_SHARE)) - faults;
}

/**
 * Notes the replacement of an instance that reports a fault, before it begins. Above the limit of the group for an hour the
 * instance is noted as due, and `reconcile` replaces it later.
 *
 * @param desired the desired capacity of the group
 * @returns whether the instance may be replaced now
 */
export async function admitReplacement(
  group: string,
  id: string,
  desired: number,
  deps: RecordDeps,
): Promise<boolean> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const { record, etag } = await readGroupRecord(group, deps);
    // A report that is received again finds its own note.
    if (record.replaced.some((one) => one.instanceId === id)) return true;
    const at = deps.clock.now().toISOString();
    const isAdmitted = faultsLeft(record, desired) > 0;
    if (!isAdmitted && record.due[id]?.cause === 'unhealthy') return false;
    const next: GroupRecord = isAdmitted
      ? { ...record, replaced: [...record.replaced, { instanceId: id, cause: 'unhealthy', at }] }
      : { ...record, due: { ...record.due, [id]: { cause: 'unhealthy', since: at } } };
    if (await writeGroupRecord(group, next, etag, deps)) return isAdmitted;
  }
  throw new RetryableError('group-record-contended', `the record of ${group} lost ${MAX_RACES} races`);
}

/**
 * Notes that the drain of an instance has begun, unless that is noted.
 *
 * @returns when it began
 */
export async function noteDrain(group: string, id: string, deps: RecordDeps): Promise<Date> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const { record, etag } = await readGroupRecord(group, deps);
    const noted = record.draining[id];
    if (noted !== undefined) return new Date(noted);
    const now = deps.clock.now();
    const draining = { ...record.draining, [id]: now.toISOString() };
    if (await writeGroupRecord(group, { ...record, draining }, etag, deps)) return now;
  }
  throw new RetryableError('group-record-contended', `the record of ${group} lost ${MAX_RACES} races`);
}

/** When the drain of an instance began; undefined if it is not noted. */
export async function drainSince(group: string, id: string, deps: RecordDeps): Promise<Date | undefined> {
  const noted = (await readGroupRecord(group, deps)).record.draining[id];
  return noted === undefined ? undefined : new Date(noted);
}
