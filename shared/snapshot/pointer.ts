import * as v from 'valibot';
import { SHA256, SNAPSHOT_ID } from './layout.ts';

/** Most snapshots behind the current one, newest first: a runner falls back to them. */
export const KEPT_PREVIOUS = 3;

/** Quarantined ids that are kept however old they are, newest first. */
const KEPT_QUARANTINED = 20;

/**
 * A quarantined id is kept for this long, in milliseconds. Its manifest is pruned after a day; a check would promote a snapshot
 * whose manifest is there and whose quarantine is forgotten.
 */
const QUARANTINE_KEPT_MS = 48 * 3_600_000;

/** Most quarantined ids, so that a flood of broken snapshots cannot make the pointer unreadable. */
const MAX_QUARANTINED = 256;

/** Most characters of the reason of a quarantine. */
const MAX_REASON = 200;

/** Most bytes of a pointer: room for `MAX_QUARANTINED` reasons, each character escaped. */
export const MAX_POINTER_BYTES = 512 * 1024;

const id = v.pipe(v.string(), v.regex(SNAPSHOT_ID));
const instant = v.pipe(v.string(), v.maxLength(40), v.isoTimestamp());

/** A snapshot with the SHA-256 of its manifest: the pointer vouches for content. The manifest names the index by its SHA-256, and the index each frame. */
const vouched = v.object({
  id,
  manifestSha256: v.pipe(v.string(), v.regex(SHA256)),
  /** Warming runs between an empty tree and this snapshot: 0 if its run started with one. Absent in an older record. */
  generation: v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});
export type Vouched = v.InferOutput<typeof vouched>;

/** `sets/<set>/pointer.json`. Written only with If-Match (or If-None-Match when there is none yet). */
export const pointerSchema = v.object({
  version: v.literal(2),
  /** The snapshot that runners restore; null when every snapshot so far is quarantined. */
  current: v.nullable(vouched),
  /** Newest first. A roll back moves only to one of them. */
  previous: v.pipe(v.array(vouched), v.maxLength(KEPT_PREVIOUS)),
  quarantined: v.pipe(
    v.array(v.object({ id, reason: v.pipe(v.string(), v.maxLength(MAX_REASON)), at: instant })),
    v.maxLength(MAX_QUARANTINED),
  ),
  updatedAt: instant,
  /** When `current` became current, by a promotion or a roll back. */
  promotedAt: v.exactOptional(instant),
});

export type Pointer = v.InferOutput<typeof pointerSchema>;

/** A set that has no snapshot yet. */
export function emptyPointer(at: Date): Pointer {
  return { version: 2, current: null, previous: [], quarantined: [], updatedAt: at.toISOString() };
}

/**
 * The generation of a snapshot whose run started with the content of `startedFrom`. What the pointer does not name any more counts
 * as the current one.
 */
export function nextGeneration(pointer: Pointer, startedFrom: string | undefined): number {
  if (startedFrom === undefined) return 0;
  return ((vouchedFor(pointer, startedFrom) ?? pointer.current)?.generation ?? 0) + 1;
}

/** Whether a snapshot can become current: it is newer than the current one and not quarantined. Ids sort by time. */
export function isPromotable(pointer: Pointer, snapshotId: string): boolean {
  if (isQuarantined(pointer, snapshotId)) return false;
  return pointer.current === null || snapshotId > pointer.current.id;
}

/** The pointer after the promotion of a snapshot, or undefined if nothing changes. */
export function promote(pointer: Pointer, snapshot: Vouched, at: Date): Pointer | undefined {
  if (!isPromotable(pointer, snapshot.id)) return undefined;
  const previous = pointer.current === null ? pointer.previous : [pointer.current, ...pointer.previous];
  const updatedAt = at.toISOString();
  return {
    ...pointer,
    current: snapshot,
    previous: previous.slice(0, KEPT_PREVIOUS),
    updatedAt,
    promotedAt: updatedAt,
  };
}

/**
 * The pointer after the quarantine of a snapshot, or undefined if it is quarantined. If it is current, the newest of `previous`
 * becomes current.
 */
export function quarantine(
  pointer: Pointer,
  snapshotId: string,
  reason: string,
  at: Date,
): Pointer | undefined {
  if (isQuarantined(pointer, snapshotId)) return undefined;
  const updatedAt = at.toISOString();
  const remaining = pointer.previous.filter((other) => other.id !== snapshotId);
  const isCurrent = pointer.current?.id === snapshotId;
  const current = isCurrent ? (remaining.shift() ?? null) : pointer.current;
  return {
    ...pointer,
    current,
    previous: remaining,
    quarantined: [
      { id: snapshotId, reason: reason.slice(0, MAX_REASON), at: updatedAt },
      ...pointer.quarantined,
    ]
      .filter(
        (entry, index) =>
          index < KEPT_QUARANTINED || at.getTime() - Date.parse(entry.at) < QUARANTINE_KEPT_MS,
      )
      .slice(0, MAX_QUARANTINED),
    updatedAt,
    ...(isCurrent && { promotedAt: updatedAt }),
  };
}

/** The pointer after the quarantine of several snapshots, or undefined if all of them are quarantined. */
export function quarantineAll(
  pointer: Pointer,
  ids: readonly string[],
  reason: string,
  at: Date,
): Pointer | undefined {
  return ids.reduce<Pointer | undefined>(
    (before, each) => quarantine(before ?? pointer, each, reason, at) ?? before,
    undefined,
  );
}

export function isQuarantined(pointer: Pointer, snapshotId: string): boolean {
  return pointer.quarantined.some((entry) => entry.id === snapshotId);
}

/** The entry of a snapshot that the pointer names as current or previous, or undefined. */
export function vouchedFor(pointer: Pointer, snapshotId: string): Vouched | undefined {
  return [pointer.current, ...pointer.previous].find((each) => each?.id === snapshotId) ?? undefined;
}
