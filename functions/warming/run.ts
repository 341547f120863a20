import * as v from 'valibot';
import { runKey } from '../../shared/snapshot/layout.ts';
import { parseRecord } from '../../shared/snapshot/records.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';

const instant = v.pipe(v.string(), v.isoTimestamp());

/**
 * `sets/<set>/run.json`: the last run of a set. While its state is `running` and its deadline ahead it is a lock; a run
 * that is over stays written, so that an event which is late can be told from one that is new.
 */
export const runSchema = v.object({
  version: v.literal(1),
  set: v.string(),
  group: v.string(),
  state: v.picklist(['running', 'done', 'failed']),
  startedAt: instant,
  deadline: instant,
  endedAt: v.optional(instant),
  /** Why it failed. */
  reason: v.optional(v.string()),
  /** What it made. */
  snapshot: v.optional(v.string()),
});

export type Run = v.InferOutput<typeof runSchema>;
export type StoredRun = { run: Run; etag: string };

/** @throws {CorruptRecord} */
export async function readRun(store: ObjectStore, set: string): Promise<StoredRun | undefined> {
  const stored = await store.read(runKey(set));
  return stored && { run: parseRecord(runKey(set), stored.text, runSchema), etag: stored.etag };
}

/** @returns whether the run was written: somebody else may have been first */
export async function writeRun(store: ObjectStore, run: Run, etag: string | undefined): Promise<boolean> {
  const precondition = etag === undefined ? ({ ifNoneMatch: true } as const) : { ifMatch: etag };
  return (await store.write(runKey(run.set), run, precondition)) !== undefined;
}
