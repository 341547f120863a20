import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { CorruptRecord, parseRecord } from '../../shared/snapshot/format-1/records.ts';
import { type Verdict, verifySnapshot } from '../../shared/snapshot/format-1/verify.ts';
import { verificationLeaseKey } from '../../shared/snapshot/layout.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

/** Time for reading chunks, in milliseconds. The checksums of S3 decide about the rest of the snapshot. */
const READ_MS = 3 * 60_000;

/** Life of a lease, in milliseconds: longer than the function's timeout (function.json, 300 s). */
const LEASE_MS = 6 * 60_000;

const leaseSchema = v.object({ snapshot: v.string(), until: v.pipe(v.string(), v.isoTimestamp()) });

/**
 * Verifies a snapshot in S3. One invocation verifies a set at a time: a lease in the bucket keeps an event, a check and a report
 * from reading the same gigabytes side by side.
 *
 * @param trusted layers that are not read
 * @returns `busy` if another invocation holds the lease
 */
export async function verify(
  set: NamedSet,
  id: string,
  deps: WarmingDeps,
  trusted: readonly string[] = [],
): Promise<Verdict | { verdict: 'busy'; until: Date }> {
  const lease = await acquireLease(set, id, deps);
  if ('until' in lease) return { verdict: 'busy', until: lease.until };
  try {
    const now = () => deps.clock.now().getTime();
    return await verifySnapshot(deps.store, set.name, id, {
      now,
      readUntil: now() + READ_MS,
      verified: new Set(trusted),
    });
  } catch (error) {
    // The layer existed when its size was read. The next verification finds it missing, and the snapshot broken.
    if (!(error instanceof Error) || error.name !== 'NoSuchKey') throw error;
    throw new RetryableError('layer-vanished', `a layer of ${id} was deleted during its verification`, {
      cause: error,
    });
  } finally {
    await deps.store.remove(verificationLeaseKey(set.name), lease.etag);
  }
}

async function acquireLease(
  set: NamedSet,
  id: string,
  { store, clock }: WarmingDeps,
): Promise<{ etag: string } | { until: Date }> {
  const key = verificationLeaseKey(set.name);
  const stored = await store.read(key);
  const now = clock.now();
  const held = stored && leaseEnd(key, stored.text);
  if (held && held > now) return { until: held };
  const until = new Date(now.getTime() + LEASE_MS);
  // A write with an identical body counts as the same write (`ObjectStore.write`). The holder makes each lease differ.
  const lease = { snapshot: id, holder: randomUUID(), until: until.toISOString() };
  const etag = await store.write(key, lease, stored ? { ifMatch: stored.etag } : { ifNoneMatch: true });
  // Another invocation acquired the lease between the read and the write.
  return etag === undefined ? { until } : { etag };
}

/** The end of a lease; undefined if the record is not readable, which is no lease. */
function leaseEnd(key: string, text: string): Date | undefined {
  try {
    return new Date(parseRecord(key, text, leaseSchema).until);
  } catch (error) {
    if (error instanceof CorruptRecord) return undefined;
    throw error;
  }
}
