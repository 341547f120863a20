import { done, type Ending, retryLater, skipped } from '../../shared/runtime/ending.ts';
import { promote, quarantine } from '../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { verifySnapshot } from '../../shared/snapshot/verify.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun, finishRun, runBehind } from './end-run.ts';
import { movePointer } from './move-pointer.ts';
import { prune } from './prune.ts';

/** Verification stops this long before Lambda's 15 minutes are over, in milliseconds, and goes on with the next try. */
const VERIFY_MS = 13 * 60_000;

/**
 * Layers found sound by this execution environment. A snapshot too large for one invocation is verified over several;
 * one that moves to another environment starts again, which costs time and nothing else.
 */
const soundLayers = new Set<string>();

/** A snapshot has appeared: verifies it, makes it current if it is the newest, and ends the run that made it. */
export async function consider(set: NamedSet, id: string, context: WarmingContext): Promise<Ending> {
  const stored = await readPointer(context.store, set.name);
  if (stored && !promote(stored.pointer, id, context.clock.now())) {
    await finishRun(set, id, context);
    return skipped('not-newer', { current: stored.pointer.current });
  }
  const verdict = await verifySnapshot(context.store, set.name, id, {
    now: () => context.clock.now().getTime(),
    until: context.clock.now().getTime() + VERIFY_MS,
    verified: new Set([...soundLayers, ...(await promotedLayers(set, stored?.pointer.current, context))]),
    onLayer: (sha256) => soundLayers.add(sha256),
  });
  switch (verdict.verdict) {
    case 'missing':
      return skipped('no-such-snapshot');
    case 'unfinished':
      return retryLater('verifying', { afterSeconds: 1, detail: { bytesRead: verdict.bytesRead } });
    case 'broken':
      return refuse(set, id, verdict.reason, context);
    case 'sound': {
      const { pointer } = await movePointer(set.name, context, (before, now) => promote(before, id, now));
      await finishRun(set, id, context);
      await prune(set, context);
      const { totals, layers } = verdict.manifest;
      return done({
        current: pointer.current,
        layers: layers.length,
        bytes: totals.bytes,
        read: verdict.bytesRead,
      });
    }
  }
}

/** Layers of the current snapshot were read when it was promoted, and never change. */
async function promotedLayers(
  set: NamedSet,
  current: string | null | undefined,
  context: WarmingContext,
): Promise<string[]> {
  if (!current) return [];
  const manifest = await readManifest(context.store, set.name, current);
  return manifest?.layers.map((layer) => layer.sha256) ?? [];
}

/** Marks a snapshot that was saved broken, so that no later look promotes it, and fails the run that saved it. */
async function refuse(set: NamedSet, id: string, reason: string, context: WarmingContext): Promise<Ending> {
  await movePointer(set.name, context, (pointer, now) => quarantine(pointer, id, reason, now));
  const run = await runBehind(set, id, context);
  if (run) await failRun(set, run, `snapshot ${id} is broken: ${reason}`, context);
  context.warn('a new snapshot is broken', { set: set.name, id, reason });
  return done({ quarantined: id, reason });
}
