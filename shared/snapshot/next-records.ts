import type { FrameIndex, FrameRecord } from './frame-index.ts';
import type { UnitRange } from './units.ts';

/**
 * The records of the index that follows `parent`: its records without the units that changed, and the records of the new frames.
 * A record of which units in the middle changed becomes two.
 *
 * @param changed runs of units whose content is new or zero, in order and without overlap. They contain every unit of `added`
 * @param added records of new frames, in order and without overlap
 * @param objectNumbers the new number of each object of the parent; undefined for one that has no unit left
 */
export function* nextRecords(
  parent: FrameIndex,
  changed: Iterable<UnitRange>,
  added: Iterable<FrameRecord>,
  objectNumbers: readonly (number | undefined)[],
): Generator<FrameRecord> {
  const news = added[Symbol.iterator]();
  let next = news.next();
  for (const kept of unchangedRecords(parent, changed)) {
    while (!next.done && next.value.firstUnit < kept.firstUnit) {
      yield next.value;
      next = news.next();
    }
    const object = objectNumbers[kept.object];
    if (object === undefined) throw new RangeError(`object ${kept.object} still has unit ${kept.firstUnit}`);
    yield { ...kept, object };
  }
  for (; !next.done; next = news.next()) yield next.value;
}

/**
 * The records of `parent` without the units that changed. What compaction counts: the units that a frame, or an object, still
 * contributes.
 *
 * @param changed runs of units in order and without overlap
 */
export function* unchangedRecords(parent: FrameIndex, changed: Iterable<UnitRange>): Generator<FrameRecord> {
  const runs = changed[Symbol.iterator]();
  let run = runs.next();
  for (const record of parent.records()) {
    const end = record.firstUnit + record.units;
    let at = record.firstUnit;
    while (at < end) {
      while (!run.done && run.value.firstUnit + run.value.units <= at) run = runs.next();
      const { firstUnit, units } = run.done ? { firstUnit: end, units: 0 } : run.value;
      if (firstUnit > at) {
        const until = Math.min(firstUnit, end);
        yield part(record, at, until);
        at = until;
      } else {
        at = Math.min(end, firstUnit + units);
      }
    }
  }
}

function part(record: FrameRecord, firstUnit: number, until: number): FrameRecord {
  const skipped = firstUnit - record.firstUnit;
  return {
    ...record,
    firstUnit,
    units: until - firstUnit,
    firstUnitInFrame: record.firstUnitInFrame + skipped,
  };
}
