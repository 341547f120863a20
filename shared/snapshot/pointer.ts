import * as v from 'valibot';
import { SNAPSHOT_ID } from './layout.ts';

/** Snapshots that the pointer remembers behind the current one, newest first: what a runner can fall back on. */
export const KEPT_PREVIOUS = 3;

/** Quarantined ids that are remembered, newest first: longer than any of them can come back from a late event. */
const KEPT_QUARANTINED = 20;

const snapshot = v.pipe(v.string(), v.regex(SNAPSHOT_ID));

/** `sets/<set>/pointer.json`. Written only with If-Match (or If-None-Match when there is none yet). */
export const pointerSchema = v.object({
  version: v.literal(1),
  /** What runners mount; null when every snapshot so far was quarantined. */
  current: v.nullable(snapshot),
  /** Newest first. */
  previous: v.array(snapshot),
  quarantined: v.array(
    v.object({ id: snapshot, reason: v.string(), at: v.pipe(v.string(), v.isoTimestamp()) }),
  ),
  updatedAt: v.pipe(v.string(), v.isoTimestamp()),
});

export type Pointer = v.InferOutput<typeof pointerSchema>;

/** A set that has no snapshot yet. */
export function emptyPointer(at: Date): Pointer {
  return { version: 1, current: null, previous: [], quarantined: [], updatedAt: at.toISOString() };
}

/**
 * The pointer after snapshot `id` has been verified, or undefined if nothing changes: it is current already, older than
 * the current one, or quarantined. Ids sort by time.
 */
export function promote(pointer: Pointer, id: string, at: Date): Pointer | undefined {
  if (isQuarantined(pointer, id)) return undefined;
  if (pointer.current !== null && id <= pointer.current) return undefined;
  const previous = pointer.current === null ? pointer.previous : [pointer.current, ...pointer.previous];
  return { ...pointer, current: id, previous: previous.slice(0, KEPT_PREVIOUS), updatedAt: at.toISOString() };
}

/** The pointer after snapshot `id` was found broken, or undefined if that is known already. */
export function quarantine(pointer: Pointer, id: string, reason: string, at: Date): Pointer | undefined {
  if (isQuarantined(pointer, id)) return undefined;
  const updatedAt = at.toISOString();
  const remaining = pointer.previous.filter((other) => other !== id);
  const rolledBack = pointer.current === id ? (remaining.shift() ?? null) : pointer.current;
  return {
    ...pointer,
    current: rolledBack,
    previous: remaining,
    quarantined: [{ id, reason, at: updatedAt }, ...pointer.quarantined].slice(0, KEPT_QUARANTINED),
    updatedAt,
  };
}

export function isQuarantined(pointer: Pointer, id: string): boolean {
  return pointer.quarantined.some((entry) => entry.id === id);
}
