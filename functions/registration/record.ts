import * as v from 'valibot';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { RegistrationDeps } from './ports.ts';

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

/**
 * A record of another format is replaced by one with a number that no earlier registration has, so that its instance is not locked
 * out: seconds since November 2023, which have nine digits until 2055.
 */
export async function readRecord(
  instanceId: string,
  { store, logger, clock }: Pick<RegistrationDeps, 'logger' | 'clock'> & { store: Pick<ObjectStore, 'read'> },
): Promise<StoredRecord> {
  const key = recordKey(instanceId);
  const stored = await store.read(key);
  if (!stored) return { record: undefined, etag: undefined };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), recordSchema), stored.text);
  if (parsed.success) return { record: parsed.output, etag: stored.etag };
  logger.warn('record of another format replaced', { key });
  const n = Math.floor(clock.now().getTime() / 1000) - 1_700_000_000;
  return { record: { version: 1, n, at: new Date(0).toISOString() }, etag: stored.etag };
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
