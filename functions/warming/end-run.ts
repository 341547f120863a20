import { restGroup } from './capacity.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { isRunning, madeSince, type Run, readRun, type StoredRun, writeRun } from './run.ts';

/** How much of a reason is kept, in characters. */
const MAX_REASON = 500;

/**
 * Ends the run that made `snapshotId`, if one is under way. The machine is let go before the lock: the other way round,
 * a function that died in between would leave it running with nobody to look for it.
 */
export async function finishRun(set: NamedSet, snapshotId: string, context: WarmingContext): Promise<void> {
  const stored = await runBehind(set, snapshotId, context);
  if (!stored) return;
  await restGroup(set, context);
  const endedAt = context.clock.now();
  const run: Run = { ...stored.run, state: 'done', endedAt: endedAt.toISOString(), snapshot: snapshotId };
  if (!(await writeRun(run, stored.etag, context))) return;
  const seconds = (endedAt.getTime() - Date.parse(run.startedAt)) / 1000;
  context.metrics.add('WarmingRunSeconds', seconds, { Set: set.name });
}

/**
 * Ends a run as failed, lets its machine go, and counts it once, however many notice.
 *
 * @returns whether it was this call that ended it
 */
export async function failRun(
  set: NamedSet,
  stored: StoredRun,
  reason: string,
  context: WarmingContext,
): Promise<boolean> {
  await restGroup(set, context);
  const run: Run = {
    ...stored.run,
    state: 'failed',
    endedAt: context.clock.now().toISOString(),
    reason: reason.slice(0, MAX_REASON),
  };
  if (!(await writeRun(run, stored.etag, context))) return false;
  context.metrics.add('WarmingRunFailures', 1, { Set: set.name });
  context.warn('a warming run failed', { set: set.name, reason: run.reason });
  return true;
}

/** The run under way, if the snapshot was made during it. */
export async function runBehind(
  set: NamedSet,
  snapshotId: string,
  context: WarmingContext,
): Promise<StoredRun | undefined> {
  const stored = await readRun(set, context);
  return isRunning(stored) && madeSince(stored.run, snapshotId) ? stored : undefined;
}
