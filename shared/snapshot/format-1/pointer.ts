import * as v from 'valibot';
import { SNAPSHOT_ID } from '../layout.ts';

/** Most snapshots behind the current one, newest first: a runner falls back to them. */
export const KEPT_PREVIOUS = 3;

/** Quarantined ids that are kept however old they are, newest first. */
const KEPT_QUARANTINED = 20;

/**
 * Every quarantined id is kept for this long, in milliseconds. Its manifest is pruned after a day; a check would promote a
 * snapshot whose manifest is there and whose quarantine is forgotten.
 */
const QUARANTINE_KEPT_MS = 48 * 3_600_000;

const snapshot = v.pipe(v.string(), v.regex(SNAPSHOT_ID));

/** `sets/<set>/pointer.json`. Written only with If-Match (or If-None-Match when there is none yet). */
export const pointerSchema = v.object({
  version: v.literal(1),
  /** The snapshot that runners mount; null when every snapshot so far is quarantined. */
  current: v.nullable(snapshot),
  /** Newest first. */
  previous: v.array(snapshot),
  quarantined: v.array(
    v.object({ id: snapshot, reason: v.string(), at: v.pipe(v.string(), v.isoTimestamp()) }),
  ),
  updatedAt: v.pipe(v.string(), v.isoTimestamp()),
  /** When `current` became current, by a promotion or a roll back. Absent in pointers of earlier versions. */
  promotedAt: v.exactOptional(v.pipe(v.string(), v.isoTimestamp())),
});

export type Pointer = v.InferOutput<typeof pointerSchema>;

/** A set that has no snapshot yet. */
export function emptyPointer(at: Date): Pointer {
  return { version: 1, current: null, previous: [], quarantined: [], updatedAt: at.toISOString() };
}

/**
 * The pointer after the promotion of snapshot `id`, or undefined if nothing changes: the snapshot is current, older than the
 * current one, or quarantined. Ids sort by time.
 */
export function promote(pointer: Pointer, id: string, at: Date): Pointer | undefined {
  if (isQuarantined(pointer, id)) return undefined;
  if (pointer.current !== null && id <= pointer.current) return undefined;
  const previous = pointer.current === null ? pointer.previous : [pointer.current, ...pointer.previous];
  const updatedAt = at.toISOString();
  return {
    ...pointer,
    current: id,
    previous: previous.slice(0, KEPT_PREVIOUS),
    updatedAt,
    promotedAt: updatedAt,
  };
}

/** The pointer after the quarantine of snapshot `id`, or undefined if it is quarantined. */
export function quarantine(pointer: Pointer, id: string, reason: string, at: Date): Pointer | undefined {
  if (isQuarantined(pointer, id)) return undefined;
  const updatedAt = at.toISOString();
  const remaining = pointer.previous.filter((other) => other !== id);
  const rolledBack = pointer.current === id ? (remaining.shift() ?? null) : pointer.current;
  return {
    ...pointer,
    current: rolledBack,
    previous: remaining,
    quarantined: [{ id, reason, at: updatedAt }, ...pointer.quarantined].filter(
      (entry, index) => index < KEPT_QUARANTINED || at.getTime() - Date.parse(entry.at) < QUARANTINE_KEPT_MS,
    ),
    updatedAt,
    ...(pointer.current === id && { promotedAt: updatedAt }),
  };
}

export function isQuarantined(pointer: Pointer, id: string): boolean {
  return pointer.quarantined.some((entry) => entry.id === id);
}
