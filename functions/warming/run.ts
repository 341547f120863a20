import * as v from 'valibot';
import { CorruptRecord } from '../../shared/snapshot/errors.ts';
import { runKey, snapshotTime } from '../../shared/snapshot/layout.ts';
import { parseRecord } from '../../shared/snapshot/records.ts';
import type { NamedSet, WarmingDeps } from './ports.ts';

const instant = v.pipe(v.string(), v.isoTimestamp());

/** Most bytes of the record of a run, which has less than 2 KiB. */
const MAX_BYTES = 64 * 1024;

/**
 * `sets/<set>/run.json`: the last run of a set. While its state is `running` and its deadline is ahead, it is a lock. It stays
 * after the run, so that a late copy of a schedule is recognized.
 */
const runSchema = v.object({
  version: v.literal(1),
  set: v.string(),
  group: v.string(),
  state: v.picklist(['running', 'done', 'failed']),
  /** When the schedule of this run fired. */
  due: instant,
  startedAt: instant,
  deadline: instant,
  endedAt: v.optional(instant),
  /** Why the run failed. */
  reason: v.optional(v.string()),
  /** The snapshot that the run produced. */
  snapshot: v.optional(v.string()),
  /** Instances that failed during the run. */
  failedInstances: v.optional(v.array(v.string()), []),
});

export type Run = v.InferOutput<typeof runSchema>;
export type StoredRun = { run: Run; etag: string };

/** A run whose state is `running`. */
export type RunningRun = { run: Run & { state: 'running' }; etag: string };

/**
 * The last run of a set, if there is one. A record that is not readable counts as a run that failed long ago, and the next run
 * replaces it. As a lock it could never be released.
 */
export async function readRun(set: NamedSet, deps: WarmingDeps): Promise<StoredRun | undefined> {
  const key = runKey(set.name);
  const stored = await deps.store.read(key, MAX_BYTES);
  if (!stored) return undefined;
  try {
    return { run: parseRecord(key, stored.text, runSchema), etag: stored.etag };
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    deps.logger.warn('the record of the last run is not readable', {
      set: set.name,
      problem: error.message,
    });
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
    failedInstances: [],
  };
}

/**
 * Writes a run over the version that was read, or as the first one.
 *
 * @returns the stored run, or undefined if another writer was first
 */
export async function writeRun(
  run: Run,
  etag: string | undefined,
  deps: WarmingDeps,
): Promise<StoredRun | undefined> {
  const precondition = etag === undefined ? ({ ifNoneMatch: true } as const) : { ifMatch: etag };
  const written = await deps.store.write(runKey(run.set), run, precondition);
  return written === undefined ? undefined : { run, etag: written };
}

export function isRunning(stored: StoredRun | undefined): stored is RunningRun {
  return stored?.run.state === 'running';
}

/** When a run that is not running ended: at its deadline at the latest, although the end is recorded later. */
export function endTime(run: Run): Date {
  const deadline = new Date(run.deadline);
  const ended = new Date(run.endedAt ?? run.deadline);
  return ended < deadline ? ended : deadline;
}

/** Whether a snapshot was created after the start of a run. Ids have whole seconds, so the start is rounded down. */
export function createdDuring(run: Run, snapshotId: string): boolean {
  const startedAt = Math.floor(Date.parse(run.startedAt) / 1000) * 1000;
  return snapshotTime(snapshotId).getTime() >= startedAt;
}
