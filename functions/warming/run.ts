import * as v from 'valibot';
import { runKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { CorruptRecord, parseRecord } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingContext } from './context.ts';

const instant = v.pipe(v.string(), v.isoTimestamp());

/**
 * `sets/<set>/run.json`: the last run of a set. While its state is `running` and its deadline ahead it is a lock; a run
 * that is over stays written, so that an event which is late can be told from one that is new.
 */
const runSchema = v.object({
  version: v.literal(1),
  set: v.string(),
  group: v.string(),
  state: v.picklist(['running', 'done', 'failed']),
  /** When the schedule fired that it answers. */
  due: instant,
  startedAt: instant,
  deadline: instant,
  endedAt: v.optional(instant),
  /** Why it failed. */
  reason: v.optional(v.string()),
  /** What it made. */
  snapshot: v.optional(v.string()),
  /** Machines that could not boot for it. */
  failedBoots: v.optional(v.array(v.string()), []),
});

export type Run = v.InferOutput<typeof runSchema>;
export type StoredRun = { run: Run; etag: string };

/**
 * The last run of a set, if there was one. A record that cannot be read says nothing worth keeping: it counts as a run that
 * failed long ago, and the next run replaces it. Were it held for a lock, it would be one that nobody could ever release.
 */
export async function readRun(set: NamedSet, context: WarmingContext): Promise<StoredRun | undefined> {
  const key = runKey(set.name);
  const stored = await context.store.read(key);
  if (!stored) return undefined;
  try {
    return { run: parseRecord(key, stored.text, runSchema), etag: stored.etag };
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    context.warn('the record of the last run cannot be read', { set: set.name, problem: error.message });
    return { run: unreadableRun(set), etag: stored.etag };
  }
}

function unreadableRun(set: NamedSet): Run {
  const longAgo = new Date(0).toISOString();
  return {
    version: 1,
    set: set.name,
    group: set.group,
    state: 'failed',
    due: longAgo,
    startedAt: longAgo,
    deadline: longAgo,
    endedAt: longAgo,
    failedBoots: [],
  };
}

/**
 * Writes a run over the version that was read, or as the first one.
 *
 * @returns what is stored then, or undefined if somebody else was first
 */
export async function writeRun(
  run: Run,
  etag: string | undefined,
  context: WarmingContext,
): Promise<StoredRun | undefined> {
  const precondition = etag === undefined ? ({ ifNoneMatch: true } as const) : { ifMatch: etag };
  const written = await context.store.write(runKey(run.set), run, precondition);
  return written === undefined ? undefined : { run, etag: written };
}

/** A run under way. */
export type RunningRun = { run: Run & { state: 'running' }; etag: string };

export function isRunning(stored: StoredRun | undefined): stored is RunningRun {
  return stored?.run.state === 'running';
}

/** When a run that is not running ended: at its deadline at the latest, even if that was noticed later. */
export function overAt(run: Run): Date {
  const deadline = new Date(run.deadline);
  const ended = new Date(run.endedAt ?? run.deadline);
  return ended < deadline ? ended : deadline;
}

/** Whether a snapshot was made after a run had begun. Ids have whole seconds, so the beginning is rounded down. */
export function madeSince(run: Run, snapshotId: string): boolean {
  const startedAt = Math.floor(Date.parse(run.startedAt) / 1000) * 1000;
  return snapshotTime(snapshotId).getTime() >= startedAt;
}
