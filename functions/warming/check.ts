import { done, type Outcome } from '../../shared/runtime/outcome.ts';
import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { emptyPointer, promote } from '../../shared/snapshot/pointer.ts';
import { readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { consider } from './consider.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { goOn } from './go-on.ts';
import { prune } from './prune.ts';
import { rollBack } from './roll-back.ts';
import { isRunning, readRun } from './run.ts';
import { listSnapshots } from './stored.ts';
import { glance } from './verification.ts';

/** After so long, in milliseconds, nobody is still verifying a snapshot because of its event: that one was lost. */
const LOST_MS = 15 * 60_000;

/**
 * Looks at a set as it is, every few minutes: what an event would have told if it had not been lost. Rolls a current snapshot
 * back that is not whole, promotes one that nobody announced, takes the run on or ends it, measures, and prunes.
 */
export async function check(set: NamedSet, context: WarmingContext): Promise<Outcome> {
  const rolledBack = await checkCurrent(set, context);
  const missed = await newestMissed(set, context);
  if (missed !== undefined) {
    const outcome = await consider(set, missed, context);
    if (outcome.outcome === 'retry') return outcome;
  }
  const stored = await readRun(set, context);
  const failed = isRunning(stored) ? await goOn(set, stored, context) : undefined;
  const current = await measure(set, context);
  const pruned = await prune(set, context);
  return done({
    current,
    pruned,
    ...(rolledBack !== undefined && { rolledBack }),
    ...(missed !== undefined && { missed }),
    ...(failed !== undefined && { failed }),
  });
}

/** @returns the snapshot that was current and is not whole */
async function checkCurrent(set: NamedSet, context: WarmingContext): Promise<string | undefined> {
  const current = (await readPointer(context.store, set.name))?.pointer.current;
  if (!current) return undefined;
  const verdict = await glance(set, current, context);
  if (verdict.verdict !== 'broken' && verdict.verdict !== 'missing') return undefined;
  await rollBack(set, current, verdict, context);
  return current;
}

async function newestMissed(set: NamedSet, context: WarmingContext): Promise<string | undefined> {
  const now = context.clock.now();
  const pointer = (await readPointer(context.store, set.name))?.pointer ?? emptyPointer(now);
  const missed = (await listSnapshots(set, context)).filter(
    ({ id, writtenAt }) => now.getTime() - writtenAt.getTime() >= LOST_MS && promote(pointer, id, now),
  );
  return missed.at(-1)?.id;
}

async function measure(set: NamedSet, context: WarmingContext): Promise<string | null> {
  const id = (await readPointer(context.store, set.name))?.pointer.current ?? null;
  if (id === null) return null;
  const age = (context.clock.now().getTime() - snapshotTime(id).getTime()) / 1000;
  context.metrics.add('SnapshotAgeSeconds', Math.max(0, age), { Set: set.name });
  const manifest = await readManifest(context.store, set.name, id);
  if (manifest) context.metrics.add('SnapshotBytes', manifest.totals.bytes, { Set: set.name });
  return id;
}
