import type { FrameIndex } from './frame-index.ts';
import type { UnitRange } from './units.ts';

/** A run of units that a restore writes from a frame. */
export type UnitWrite = UnitRange & { firstUnitInFrame: number };

/** One frame that a restore fetches, and the units that it writes from it. Frames arrive in any order with the same result. */
export type FrameFetch = {
  object: number;
  offset: number;
  storedBytes: number;
  /** A view into the index. */
  sha256: Buffer;
  frameUnits: number;
  writes: UnitWrite[];
};

/** How an image becomes the image of an index. The parts are computed while they are read, so a plan needs no memory per frame. */
export type RestorePlan = {
  /** The frames in the order of the fetch: those that the index names first, then the others by their place in the image. */
  fetches(): Generator<FrameFetch>;
  /** Runs of units that have content in the base and are zero in the image, in order. */
  punches(): Generator<UnitRange>;
};

/**
 * Plans the restore of an image over a base: which frames to fetch, which units to write from each, and which units to punch.
 * No unit is written twice, or written and punched.
 *
 * @param index of the image
 * @param base index of the image that the file has; absent for an empty file. Units behind the end of a shorter image are cut
 *   off by the caller
 */
export function planRestore(index: FrameIndex, base?: FrameIndex): RestorePlan {
  return {
    *fetches() {
      const planned = new Uint8Array(index.count);
      for (const number of fetchOrder(index)) {
        if (planned[number] === 1) continue;
        const writes: UnitWrite[] = [];
        for (const each of index.recordsOfFrame(number)) {
          planned[each] = 1;
          writes.push(...(base ? differences(index, each, base) : [wholeRecord(index, each)]));
        }
        if (writes.length > 0) yield fetchOf(index, number, writes);
      }
    },
    *punches() {
      if (base) yield* onlyInBase(index, base);
    },
  };
}

/** Every record once, in the order of the fetch. */
function* fetchOrder(index: FrameIndex): Generator<number> {
  yield* index.fetchedFirst();
  for (let number = 0; number < index.count; number += 1) yield number;
}

function fetchOf(index: FrameIndex, number: number, writes: UnitWrite[]): FrameFetch {
  return {
    object: index.object(number),
    offset: index.offset(number),
    storedBytes: index.storedBytes(number),
    sha256: index.sha256(number),
    frameUnits: index.frameUnits(number),
    writes,
  };
}

function wholeRecord(index: FrameIndex, number: number): UnitWrite {
  return {
    firstUnit: index.firstUnit(number),
    units: index.units(number),
    firstUnitInFrame: index.firstUnitInFrame(number),
  };
}

/** The units of a record whose content the base does not have. */
function* differences(index: FrameIndex, number: number, base: FrameIndex): Generator<UnitWrite> {
  const end = index.endUnit(number);
  const start = index.frameStart(number);
  const writeOf = (firstUnit: number, until: number): UnitWrite => ({
    firstUnit,
    units: until - firstUnit,
    firstUnitInFrame: firstUnit - start,
  });
  let at = index.firstUnit(number);
  for (let other = base.firstEndingAfter(at); other < base.count && base.firstUnit(other) < end; other += 1) {
    if (!hasSameContent(index, number, base, other)) continue;
    if (base.firstUnit(other) > at) yield writeOf(at, base.firstUnit(other));
    at = Math.min(end, base.endUnit(other));
  }
  if (at < end) yield writeOf(at, end);
}

/** Whether two records of two indexes give a unit that both name the same content: same stored bytes, same place. */
function hasSameContent(index: FrameIndex, number: number, base: FrameIndex, other: number): boolean {
  return (
    index.frameStart(number) === base.frameStart(other) &&
    index.frameUnits(number) === base.frameUnits(other) &&
    index.sha256(number).equals(base.sha256(other))
  );
}

function* onlyInBase(index: FrameIndex, base: FrameIndex): Generator<UnitRange> {
  let pending: UnitRange | undefined;
  let own = 0;
  for (let number = 0; number < base.count; number += 1) {
    const end = Math.min(base.endUnit(number), index.imageUnits);
    let at = base.firstUnit(number);
    while (at < end) {
      while (own < index.count && index.endUnit(own) <= at) own += 1;
      const next = own < index.count ? index.firstUnit(own) : end;
      if (next > at) {
        const until = Math.min(next, end);
        if (pending && pending.firstUnit + pending.units === at) {
          pending.units += until - at;
        } else {
          if (pending) yield pending;
          pending = { firstUnit: at, units: until - at };
        }
        at = until;
      } else {
        at = Math.min(end, index.endUnit(own));
      }
    }
  }
  if (pending) yield pending;
}
