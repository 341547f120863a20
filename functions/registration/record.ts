import * as v from 'valibot';
import {
  type RegistrationRecord,
  recordKey,
  registrationRecordSchema,
} from '../../shared/fleet/registration-record.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import type { RegistrationDeps } from './ports.ts';

/** A record with the version that the next write names; without one there is no record yet. */
export type StoredRecord = { record: RegistrationRecord | undefined; etag: string | undefined };

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
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), registrationRecordSchema), stored.text);
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
