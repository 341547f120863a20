import * as v from 'valibot';
import { ConfigurationError } from '../../shared/runtime/errors.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

/** Folder of the records in the bucket of the deployment. */
export const RECORDS = 'registrations/';

const instant = v.pipe(v.string(), v.isoTimestamp());

/** What the function remembers per instance. It holds no credential. */
const recordSchema = v.object({
  version: v.literal(1),
  /** Number of the latest registration. A number is never used again. */
  n: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** When the provider was last asked for this instance. */
  at: instant,
  /** The provider's identifier of the latest registration. Absent: unknown, since the answer was lost, or there is none. */
  id: v.optional(v.number()),
  /** Whether the provider has removed the latest registration, or has refused to issue it. */
  removed: v.optional(v.boolean()),
  /** When the labels of the latest registration were removed, or the provider refused to. */
  watchedSince: v.optional(instant),
  /** Since when the provider reports the latest registration as busy although its agent has ended. */
  busySince: v.optional(instant),
});
export type RegistrationRecord = v.InferOutput<typeof recordSchema>;

/** A record with the version that the next write names; without one there is no record yet. */
export type StoredRecord = { record: RegistrationRecord | undefined; etag: string | undefined };

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}.json`;
}

/** The name of the latest registration. */
export function registrationName(instanceId: string, n: number): string {
  return `${instanceId}-${n}`;
}

/** @throws {ConfigurationError} if the record has another format: it is not overwritten, since the numbers in it are spent */
export async function readRecord(
  store: Pick<ObjectStore, 'read'>,
  instanceId: string,
): Promise<StoredRecord> {
  const key = recordKey(instanceId);
  const stored = await store.read(key);
  if (!stored) return { record: undefined, etag: undefined };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), recordSchema), stored.text);
  if (!parsed.success)
    throw new ConfigurationError(`${key} has another format: use functions of one release`);
  return { record: parsed.output, etag: stored.etag };
}

/** @returns the new version, or undefined if another request was first */
export function writeRecord(
  store: Pick<ObjectStore, 'write'>,
  instanceId: string,
  record: RegistrationRecord,
  etag: string | undefined,
): Promise<string | undefined> {
  return store.write(
    recordKey(instanceId),
    record,
    etag === undefined ? { ifNoneMatch: true } : { ifMatch: etag },
  );
}
