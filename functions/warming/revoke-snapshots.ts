import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { isQuarantined, quarantineAll } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { listSnapshots } from './inventory.ts';
import { updatePointer } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

/**
 * Quarantines every snapshot that was made since a moment, at the request of an operator: one of them contains something that must
 * reach no runner, and each later one can have inherited it. What a run makes from one of them is rejected when it appears. The
 * newest snapshot before the moment becomes current; without one, runners boot cold and the next run starts with an empty tree.
 *
 * @param request.since time of the first snapshot that is not trusted
 */
export async function revokeSnapshots(
  set: NamedSet,
  { since, reason }: { since: Date; reason: string },
  deps: WarmingDeps,
): Promise<Outcome> {
  const stored = await listSnapshots(set, deps);
  const pointer = (await readPointer(deps.store, set.name))?.pointer;
  // The manifest of one in use can be gone.
  const inUse = [pointer?.current, ...(pointer?.previous ?? [])].flatMap((each) => each?.id ?? []);
  // The instance chose the time in the id. S3 stamped the time of the manifest.
  const late = stored.filter(({ id, writtenAt }) => snapshotTime(id) >= since || writtenAt >= since);
  const revoked = [
    ...new Set([...late.map(({ id }) => id), ...inUse.filter((id) => snapshotTime(id) >= since)]),
  ].filter((id) => !(pointer && isQuarantined(pointer, id)));
  if (revoked.length === 0) return skipped('nothing-to-revoke');
  const { pointer: after } = await updatePointer(set.name, deps, (before, at) =>
    quarantineAll(before, revoked, `revoked by an operator: ${reason}`, at),
  );
  const current = after.current?.id ?? null;
  deps.logger.warn('snapshots are revoked', {
    set: set.name,
    since: since.toISOString(),
    reason,
    revoked,
    current,
  });
  return done({ revoked: revoked.length, current });
}
