import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import { manifestKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import {
  emptyPointer,
  isQuarantined,
  type Pointer,
  promote,
  quarantine,
} from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { restGroup } from './capacity.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun, finishRun, runBehind } from './end-run.ts';
import { looseLayers } from './lineage.ts';
import { movePointer } from './move-pointer.ts';
import { layersNamedBy } from './stored.ts';
import { verify } from './verification.ts';

/**
 * A snapshot's id says when it was made, by its machine's clock. One from further ahead than this, in milliseconds, would stay
 * the newest until then, and no true one would ever replace it.
 */
const MAX_AHEAD_MS = 15 * 60_000;

/** What an earlier try of the same verification has read may be this old, in milliseconds. */
const SAME_VERIFICATION_MS = 3_600_000;

/** A snapshot has appeared: verifies it, makes it current if it is the newest, and ends the run that made it. */
export async function consider(set: NamedSet, id: string, context: WarmingContext): Promise<Outcome> {
  const now = context.clock.now();
  const pointer = (await readPointer(context.store, set.name))?.pointer ?? emptyPointer(now);
  if (isQuarantined(pointer, id)) {
    await failRunBehind(set, id, 'its snapshot is broken', context);
    return skipped('quarantined');
  }
  if (!promote(pointer, id, now)) {
    await finishRun(set, id, context);
    return skipped('not-newer', { current: pointer.current });
  }
  if ((await context.store.size(manifestKey(set.name, id))) === undefined) return skipped('no-such-snapshot');
  if (!(snapshotTime(id).getTime() <= now.getTime() + MAX_AHEAD_MS)) {
    return refuse(set, id, 'its id is from the future', context);
  }
  // Whatever the verification says, and however long it takes: its machine has done all it can.
  if (await runBehind(set, id, context)) await restGroup(set, context);
  return judge(set, id, pointer, context);
}

async function judge(set: NamedSet, id: string, pointer: Pointer, context: WarmingContext): Promise<Outcome> {
  const since = new Date(context.clock.now().getTime() - SAME_VERIFICATION_MS);
  // Layers of the current snapshot were read when it was promoted, and never change.
  const known = pointer.current === null ? [] : await layersNamedBy(set, pointer.current, context);
  const verdict = await verify(set, id, since, context, known);
  switch (verdict.verdict) {
    case 'missing':
      return skipped('no-such-snapshot');
    case 'unfinished':
      return retryLater('verifying', { afterSeconds: 1, detail: { bytesRead: verdict.bytesRead } });
    case 'broken':
      return refuse(set, id, verdict.reason, context);
    case 'sound': {
      const loose = await looseLayers(set, verdict.manifest, context);
      if (loose.length > 0) {
        return refuse(set, id, `its layer ${loose[0]} belonged to a snapshot that is pruned`, context);
      }
      const { totals, layers } = verdict.manifest;
      const sizes = { layers: layers.length, bytes: totals.bytes, read: verdict.bytesRead };
      return accept(set, id, sizes, context);
    }
  }
}

async function accept(
  set: NamedSet,
  id: string,
  sizes: { layers: number; bytes: number; read: number },
  context: WarmingContext,
): Promise<Outcome> {
  const moved = await movePointer(set.name, context, (before, at) => {
    const after = promote(before, id, at);
    // What the pointer names is never pruned, so it names no more than the set is to keep.
    return after && { ...after, previous: after.previous.slice(0, set.keep - 1) };
  });
  await finishRun(set, id, context);
  const { current } = moved.pointer;
  return moved.changed ? done({ current, ...sizes }) : skipped('not-newer', { current });
}

/** Marks a snapshot that was saved broken, so that no later look promotes it, and fails the run that saved it. */
async function refuse(set: NamedSet, id: string, reason: string, context: WarmingContext): Promise<Outcome> {
  await movePointer(set.name, context, (pointer, now) => quarantine(pointer, id, reason, now));
  await failRunBehind(set, id, reason, context);
  context.warn('a new snapshot is broken', { set: set.name, id, reason });
  return done({ quarantined: id, reason });
}

async function failRunBehind(
  set: NamedSet,
  id: string,
  reason: string,
  context: WarmingContext,
): Promise<void> {
  const run = await runBehind(set, id, context);
  if (run) await failRun(set, run, `snapshot ${id} is broken: ${reason}`, context);
}
