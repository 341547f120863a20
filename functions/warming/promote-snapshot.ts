import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import {
  emptyPointer,
  isQuarantined,
  type Pointer,
  promote,
  quarantine,
} from '../../shared/snapshot/format-1/pointer.ts';
import { readPointer } from '../../shared/snapshot/format-1/records.ts';
import { manifestKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { failRunOf, finishRun, runThatProduced, scaleIn } from './advance-run.ts';
import { layersNamedBy } from './inventory.ts';
import { secondsUntil, updatePointer } from './pointer.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';
import { unprotectedLayers } from './prune.ts';
import { verify } from './verification.ts';

/**
 * The id of a snapshot contains the clock of its instance. A snapshot from further in the future than this, in milliseconds,
 * would stay the newest until then, and no correct one would replace it.
 */
const MAX_AHEAD_MS = 15 * 60_000;

/** A snapshot exists: verifies it, makes it current if it is the newest, and ends the run that produced it. */
export async function evaluateSnapshot(set: NamedSet, id: string, deps: WarmingDeps): Promise<Outcome> {
  const now = deps.clock.now();
  const pointer = (await readPointer(deps.store, set.name))?.pointer ?? emptyPointer(now);
  if (isQuarantined(pointer, id)) {
    await failRunOf(set, id, 'its snapshot is broken', deps);
    return skipped('quarantined');
  }
  if (!promote(pointer, id, now)) {
    await finishRun(set, id, deps);
    return skipped('not-newer', { current: pointer.current });
  }
  if ((await deps.store.size(manifestKey(set.name, id))) === undefined) return skipped('no-such-snapshot');
  if (!(snapshotTime(id).getTime() <= now.getTime() + MAX_AHEAD_MS)) {
    return reject(set, id, 'its id is in the future', deps);
  }
  // The instance has done its work, whatever the result of the verification and however long it takes.
  if (await runThatProduced(set, id, deps)) await scaleIn(set, deps);
  return verifyAndPromote(set, id, pointer, deps);
}

async function verifyAndPromote(
  set: NamedSet,
  id: string,
  pointer: Pointer,
  deps: WarmingDeps,
): Promise<Outcome> {
  // The layers of the current snapshot were verified at its promotion, and layers never change.
  const trusted = pointer.current === null ? [] : await layersNamedBy(set, pointer.current, deps);
  const verdict = await verify(set, id, deps, trusted);
  switch (verdict.verdict) {
    case 'busy': {
      const afterSeconds = secondsUntil(verdict.until, deps.clock.now().getTime());
      return retryLater('verification-in-progress', { afterSeconds });
    }
    case 'missing':
      return skipped('no-such-snapshot');
    case 'unsupported':
      return skipped('unsupported-format', { problem: verdict.reason });
    case 'broken':
      return reject(set, id, verdict.reason, deps);
    case 'sound': {
      const [unprotected] = await unprotectedLayers(set, verdict.manifest, deps);
      if (unprotected !== undefined) {
        return reject(set, id, `its layer ${unprotected} belonged to a pruned snapshot`, deps);
      }
      const { totals, layers } = verdict.manifest;
      const sizes = { layers: layers.length, bytes: totals.bytes, read: verdict.bytesRead };
      return accept(set, id, sizes, deps);
    }
  }
}

async function accept(
  set: NamedSet,
  id: string,
  sizes: { layers: number; bytes: number; read: number },
  deps: WarmingDeps,
): Promise<Outcome> {
  const { pointer, changed } = await updatePointer(set.name, deps, (before, at) => {
    const after = promote(before, id, at);
    // What the pointer names is never pruned, so it names no more than the set keeps.
    return after && { ...after, previous: after.previous.slice(0, set.keep - 1) };
  });
  await finishRun(set, id, deps);
  const { current } = pointer;
  return changed ? done({ current, ...sizes }) : skipped('not-newer', { current });
}

/** Quarantines a new snapshot that is broken, so that nothing promotes it later, and fails the run that produced it. */
async function reject(set: NamedSet, id: string, reason: string, deps: WarmingDeps): Promise<Outcome> {
  await updatePointer(set.name, deps, (pointer, now) => quarantine(pointer, id, reason, now));
  await failRunOf(set, id, `snapshot ${id} is broken: ${reason}`, deps);
  deps.logger.warn('a new snapshot is broken', { set: set.name, id, reason });
  return done({ quarantined: id, reason });
}
