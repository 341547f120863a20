import { RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { CorruptRecord, UnsupportedFormat } from '../../shared/snapshot/errors.ts';
import { manifestKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { predecessorOf } from '../../shared/snapshot/manifest.ts';
import {
  emptyPointer,
  isPromotable,
  isQuarantined,
  nextGeneration,
  type Pointer,
  promote,
  quarantine,
  vouchedFor,
} from '../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { failRunOf, finishRun, runThatProduced, scaleIn } from './advance-run.ts';
import { updatePointer } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { type Sound, verifySnapshot } from './verification.ts';

/**
 * The id of a snapshot contains the clock of its instance. A snapshot from further in the future than this, in milliseconds,
 * would stay the newest until then, and no correct one would replace it.
 */
const MAX_AHEAD_MS = 15 * 60_000;

/** Most ancestors that are looked up. A set keeps fewer snapshots than this (`keep`, env.ts). */
const MAX_ANCESTORS = 100;

/** A snapshot exists: verifies it, makes it current if it is the newest, and ends the run that produced it. */
export async function evaluateSnapshot(set: NamedSet, id: string, deps: WarmingDeps): Promise<Outcome> {
  const now = deps.clock.now();
  const pointer = (await readPointer(deps.store, set.name))?.pointer ?? emptyPointer(now);
  if (isQuarantined(pointer, id)) {
    await failRunOf(set, id, 'its snapshot is broken', deps);
    return skipped('quarantined');
  }
  if (!isPromotable(pointer, id)) {
    await finishRun(set, id, deps);
    return skipped('not-newer', { current: pointer.current?.id });
  }
  if ((await deps.store.head(manifestKey(set.name, id))) === undefined) return skipped('no-such-snapshot');
  if (!(snapshotTime(id).getTime() <= now.getTime() + MAX_AHEAD_MS)) {
    return reject(set, id, 'its id is in the future', deps);
  }
  // The instance has done its work, whatever the result of the verification and however long it takes.
  if (await runThatProduced(set, id, deps)) await scaleIn(set, deps);
  return verifyAndPromote(set, await firstToPromote(set, id, pointer, deps), pointer, deps);
}

/**
 * The snapshot itself, or the oldest of its ancestors that the pointer does not name and that can be promoted. After the loss of
 * the pointer nothing vouches for what a snapshot inherits. So the snapshots are promoted in the order in which they were made,
 * one with each check.
 */
async function firstToPromote(
  set: NamedSet,
  id: string,
  pointer: Pointer,
  deps: WarmingDeps,
): Promise<string> {
  let first = id;
  for (let ancestors = 0; ancestors < MAX_ANCESTORS; ancestors += 1) {
    const parent = await parentNamedBy(set, first, deps);
    if (parent === undefined || vouchedFor(pointer, parent) || !isPromotable(pointer, parent)) return first;
    if (!(await deps.store.head(manifestKey(set.name, parent)))) return first;
    first = parent;
  }
  return first;
}

/** None if the manifest is not readable: its verification has the reason. */
async function parentNamedBy(set: NamedSet, id: string, { store }: WarmingDeps): Promise<string | undefined> {
  try {
    return (await readManifest(store, set.name, id))?.manifest.parent;
  } catch (error) {
    if (error instanceof CorruptRecord || error instanceof UnsupportedFormat) return undefined;
    throw error;
  }
}

async function verifyAndPromote(
  set: NamedSet,
  id: string,
  pointer: Pointer,
  deps: WarmingDeps,
): Promise<Outcome> {
  const verdict = await verifySnapshot(deps.store, set.name, id, pointer);
  switch (verdict.verdict) {
    case 'missing':
      return skipped('no-such-snapshot');
    case 'unsupported':
      return skipped('unsupported-format', { problem: verdict.reason });
    case 'broken':
      return reject(set, id, verdict.reason, deps);
    case 'sound':
      return accept(set, verdict, pointer, deps);
  }
}

/** @param verifiedWith the pointer whose entry vouched for the parent */
async function accept(
  set: NamedSet,
  { manifest, vouched }: Sound,
  verifiedWith: Pointer,
  deps: WarmingDeps,
): Promise<Outcome> {
  const { id, parent, totals, frames } = manifest;
  const predecessor = predecessorOf(manifest);
  const { pointer, changed } = await updatePointer(set.name, deps, (before, at) => {
    const after = promote(before, { ...vouched, generation: nextGeneration(before, predecessor) }, at);
    if (after && parent !== undefined && !vouchesForSame(before, verifiedWith, parent)) {
      throw new RetryableError('parent-changed', `the parent ${parent} of ${id} is not in use any more`);
    }
    if (after && predecessor !== undefined && isQuarantined(before, predecessor)) {
      throw new RetryableError('parent-changed', `${predecessor}, from which ${id} was made, is quarantined`);
    }
    // What the pointer names is never pruned, so it names no more than the set keeps.
    return after && { ...after, previous: after.previous.slice(0, set.keep - 1) };
  });
  await finishRun(set, id, deps);
  const current = pointer.current?.id;
  if (!changed) return skipped('not-newer', { current });
  const added = frames.find((object) => object.id === id)?.bytes ?? 0;
  return done({ current, objects: frames.length, bytes: totals.storedBytes, added });
}

/** Whether the parent is still in use. Otherwise it was quarantined during the verification, or its objects may be pruned. */
function vouchesForSame(now: Pointer, before: Pointer, parent: string): boolean {
  return vouchedFor(now, parent)?.manifestSha256 === vouchedFor(before, parent)?.manifestSha256;
}

/** Quarantines a new snapshot that is broken, so that nothing promotes it later, and fails the run that produced it. */
async function reject(set: NamedSet, id: string, reason: string, deps: WarmingDeps): Promise<Outcome> {
  await updatePointer(set.name, deps, (pointer, now) => quarantine(pointer, id, reason, now));
  await failRunOf(set, id, `snapshot ${id} is broken: ${reason}`, deps);
  deps.logger.warn('a new snapshot is broken', { set: set.name, id, reason });
  return done({ quarantined: id, reason });
}
