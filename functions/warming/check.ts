import { done, type Ending } from '../../shared/runtime/ending.ts';
import { snapshotTime } from '../../shared/snapshot/layout.ts';
import { promote } from '../../shared/snapshot/pointer.ts';
import { CorruptRecord, readManifest, readPointer } from '../../shared/snapshot/records.ts';
import { wakeGroup } from './capacity.ts';
import { consider } from './consider.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun } from './end-run.ts';
import { listSnapshots, prune } from './prune.ts';
import { readRun } from './run.ts';

/**
 * Looks at a set as it is, every few minutes: what an event would have told if it had not been lost. Ends a run past its
 * deadline, promotes a snapshot that nobody announced, measures, and prunes.
 */
export async function check(set: NamedSet, context: WarmingContext): Promise<Ending> {
  const stored = await readRun(context.store, set.name);
  if (stored?.run.state === 'running') {
    if (new Date(stored.run.deadline) > context.clock.now()) await wakeGroup(set, context);
    else await failRun(set, stored, 'deadline', context);
  }
  const missed = await newestUnpromoted(set, context);
  if (missed !== undefined) {
    const ending = await consider(set, missed, context);
    if (ending.ending === 'retry') return ending;
  }
  const current = await measure(set, context);
  const pruned = await prune(set, context);
  return done({ current, pruned, ...(missed !== undefined && { missed }) });
}

async function newestUnpromoted(set: NamedSet, context: WarmingContext): Promise<string | undefined> {
  const newest = (await listSnapshots(set, context)).at(-1);
  if (newest === undefined) return undefined;
  const stored = await readPointer(context.store, set.name);
  if (!stored) return newest;
  return promote(stored.pointer, newest, context.clock.now()) ? newest : undefined;
}

async function measure(set: NamedSet, context: WarmingContext): Promise<string | null> {
  const stored = await readPointer(context.store, set.name);
  const id = stored?.pointer.current ?? null;
  if (id === null) return null;
  const age = (context.clock.now().getTime() - snapshotTime(id).getTime()) / 1000;
  context.metrics.add('SnapshotAgeSeconds', Math.max(0, age), { Set: set.name });
  try {
    const manifest = await readManifest(context.store, set.name, id);
    if (manifest) context.metrics.add('SnapshotBytes', manifest.totals.bytes, { Set: set.name });
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    // The runner that meets it falls back and reports it; until then its age goes on growing towards its alarm.
    context.warn('the current manifest cannot be read', { set: set.name, id, problem: error.message });
  }
  return id;
}
