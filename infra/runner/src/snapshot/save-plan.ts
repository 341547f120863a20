import type { FrameIndex } from '../../../../shared/snapshot/frame-index.ts';
import { type FramesObject, MAX_OBJECTS } from '../../../../shared/snapshot/manifest.ts';
import type { UnitRange } from '../../../../shared/snapshot/units.ts';

/**
 * A full image is sent again when a restore would fetch this much more than it needs. Tried with ten nights of churn: frames less
 * than half alive are sent again before that, and a restore then fetches 1.14 times a fresh image.
 */
const MAX_FETCHED = 1.3;

/** Share of the units of a frame below which its remaining units are sent again. */
const LEAST_ALIVE = 0.5;

/** What a save sends, and what it takes over from the parent. */
export type SavePlan = {
  /** One byte per unit of the image: 1 if the unit is sent, unless it is zero. */
  send: Uint8Array;
  /** Whether anything is taken over. */
  isFull: boolean;
};

/**
 * Adds to the changed units those that are sent again so that restores stay fast: the rest of mostly dead frames, the smallest
 * objects beyond the limit, or everything.
 *
 * @param changed one byte per unit of the image; is modified
 * @param allocated all units that have blocks
 */
export function planSave(
  changed: Uint8Array,
  allocated: Uint8Array,
  parent: { index: FrameIndex; frames: readonly FramesObject[] } | undefined,
): SavePlan {
  if (!parent) return { send: allocated, isFull: true };
  const { index } = parent;
  /** Per object of the parent: bytes of the frames that stay. */
  const fetched = new Float64Array(parent.frames.length);
  let live = 0;
  for (let number = 0; number < index.count; number += 1) {
    if (!index.isFirstOfFrame(number)) continue;
    const records = index.recordsOfFrame(number);
    const alive = records.reduce((sum, each) => sum + unchanged(index, each, changed), 0);
    const share = alive / index.frameUnits(number);
    if (share < LEAST_ALIVE) {
      for (const each of records) changed.fill(1, index.firstUnit(each), index.endUnit(each));
      continue;
    }
    const object = index.object(number);
    fetched[object] = (fetched[object] ?? 0) + index.storedBytes(number);
    live += index.storedBytes(number) * share;
  }
  const inherited = fetched.reduce((sum, bytes) => sum + bytes, 0);
  const { storedBytes, units } = index.totals();
  const added = changed.reduce((sum, each) => sum + each, 0) * (storedBytes / Math.max(1, units));
  if (inherited + added > (live + added) * MAX_FETCHED) return { send: allocated, isFull: true };
  dropSmallest(changed, index, fetched);
  return { send: changed, isFull: false };
}

function unchanged(index: FrameIndex, number: number, changed: Uint8Array): number {
  let count = 0;
  for (let unit = index.firstUnit(number); unit < index.endUnit(number); unit += 1) {
    if (changed[unit] === 0) count += 1;
  }
  return count;
}

/** Sends the units of the smallest objects again, so that the index names at most `MAX_OBJECTS` with the new one. */
function dropSmallest(changed: Uint8Array, index: FrameIndex, fetched: Float64Array): void {
  const used = [...fetched.entries()].filter(([, bytes]) => bytes > 0).sort(([, a], [, b]) => a - b);
  const dropped = new Set(
    used.slice(0, Math.max(0, used.length - (MAX_OBJECTS - 1))).map(([object]) => object),
  );
  if (dropped.size === 0) return;
  for (let number = 0; number < index.count; number += 1) {
    if (dropped.has(index.object(number))) changed.fill(1, index.firstUnit(number), index.endUnit(number));
  }
}

/**
 * The runs to send, at most `most` units each: metadata first, then the rest, so that the frames of an object are in the order in
 * which a restore fetches them.
 */
export function* runs(send: Uint8Array, metadata: Uint8Array, most: number): Generator<UnitRange> {
  for (const kind of [1, 0]) {
    const isChosen = (unit: number) => send[unit] === 1 && (metadata[unit] ?? 0) === kind;
    for (let unit = send.indexOf(1); unit >= 0 && unit < send.length; ) {
      if (!isChosen(unit)) {
        // A large image is mostly empty: the search for the next unit is native.
        unit = send[unit] === 1 ? unit + 1 : send.indexOf(1, unit);
        continue;
      }
      const firstUnit = unit;
      while (unit < send.length && unit - firstUnit < most && isChosen(unit)) unit += 1;
      yield { firstUnit, units: unit - firstUnit };
    }
  }
}

/** The runs of units that are marked, in order. */
export function* ranges(marked: Uint8Array): Generator<UnitRange> {
  for (let first = marked.indexOf(1); first >= 0; ) {
    let end = first + 1;
    while (end < marked.length && marked[end] === 1) end += 1;
    yield { firstUnit: first, units: end - first };
    first = marked.indexOf(1, end);
  }
}

/** The marked units, in order. */
export function* markedUnits(marked: Uint8Array): Generator<number> {
  for (const { firstUnit, units } of ranges(marked)) {
    for (let unit = firstUnit; unit < firstUnit + units; unit += 1) yield unit;
  }
}
