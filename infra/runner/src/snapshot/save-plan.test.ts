import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FrameRecord, indexBuilder } from '../../../../shared/snapshot/frame-index.ts';
import { type FramesObject, MAX_OBJECTS } from '../../../../shared/snapshot/manifest.ts';
import { planSave, ranges, runs } from './save-plan.ts';

const UNITS = 256;

const object = (id: string): FramesObject => ({ id, bytes: 1e6, parts: 1, sha256: '0'.repeat(64) });

function record(firstUnit: number, units: number, change: Partial<FrameRecord> = {}): FrameRecord {
  return {
    firstUnit,
    units,
    firstUnitInFrame: 0,
    frameUnits: units,
    object: 0,
    offset: firstUnit * 1000,
    storedBytes: units * 1000,
    sha256: new Uint8Array(32).fill(firstUnit % 251),
    ...change,
  };
}

function parentOf(records: FrameRecord[], objects = 1) {
  const builder = indexBuilder({ imageUnits: UNITS, objects });
  for (const each of records) builder.add(each);
  return {
    index: builder.finish(),
    frames: Array.from({ length: objects }, (_, number) => object(`${number}`)),
  };
}

const marked = (...units: number[]) => {
  const map = new Uint8Array(UNITS);
  for (const unit of units) map[unit] = 1;
  return map;
};
const sent = (map: Uint8Array) => [...map.entries()].flatMap(([unit, each]) => (each === 1 ? unit : []));
const all = new Uint8Array(UNITS).fill(1);

describe('what is sent again', () => {
  const parent = parentOf([record(0, 16), record(16, 16), record(32, 2)]);

  test('nothing, if at least half of a frame is alive', () => {
    expect(sent(planSave(marked(0, 1, 2, 3, 4, 5, 6, 7), all, parent).send)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7,
    ]);
  });

  test('the rest of a frame that is less than half alive', () => {
    const plan = planSave(marked(0, 1, 2, 3, 4, 5, 6, 7, 15), all, parent);
    expect(plan.isFull).toBe(false);
    expect(sent(plan.send)).toEqual(Array.from({ length: 16 }, (_, unit) => unit));
  });

  test('what an earlier save has replaced counts as dead', () => {
    const left = parentOf([
      record(0, 4, { frameUnits: 16 }),
      record(10, 5, { frameUnits: 16, firstUnitInFrame: 10, offset: 0, storedBytes: 4000 }),
      record(16, 16),
    ]);
    // 4 + 5 of 16 are alive in the parent, and two fewer now; the two records name one frame.
    const same = parentOf([
      record(0, 4, { frameUnits: 16, storedBytes: 16_000 }),
      record(10, 5, { frameUnits: 16, firstUnitInFrame: 10, offset: 0, storedBytes: 16_000 }),
      record(16, 16),
      ...Array.from({ length: 10 }, (_, index) => record(32 + 16 * index, 16)),
    ]);
    expect(left.index.count).toBe(3);
    expect(sent(planSave(marked(0, 1), all, same).send)).toEqual([0, 1, 2, 3, 10, 11, 12, 13, 14]);
  });

  test('everything, if a restore would fetch 1.3 times what is alive', () => {
    const records = Array.from({ length: 8 }, (_, index) => record(index * 16, 16));
    const half = records.flatMap(({ firstUnit }) => [0, 1, 2, 3, 4, 5, 6, 7].map((unit) => firstUnit + unit));
    expect(planSave(marked(...half), all, parentOf(records)).isFull).toBe(true);
    const few = records.flatMap(({ firstUnit }) => [firstUnit]);
    expect(planSave(marked(...few), all, parentOf(records)).isFull).toBe(false);
  });

  test('the smallest objects, if there are too many', () => {
    const records = Array.from({ length: MAX_OBJECTS }, (_, number) =>
      record(number * 4, 4, { object: number, offset: 0, storedBytes: number === 7 ? 10 : 4000 }),
    );
    const plan = planSave(marked(200), all, parentOf(records, MAX_OBJECTS));
    expect(sent(plan.send)).toEqual([28, 29, 30, 31, 200]);
  });
});

test('runs cover each unit that is sent once, metadata first, in runs of at most a frame', () => {
  const map = fc.uint8Array({ minLength: UNITS, maxLength: UNITS, max: 1 });
  fc.assert(
    fc.property(map, map, fc.integer({ min: 1, max: 16 }), (send, metadata, most) => {
      const found = [...runs(send, metadata, most)];
      const units = found.flatMap(({ firstUnit, units: count }) =>
        Array.from({ length: count }, (_, index) => firstUnit + index),
      );
      expect([...units].sort((a, b) => a - b)).toEqual(sent(send));
      expect(found.every((run) => run.units >= 1 && run.units <= most)).toBe(true);
      const kinds = units.map((unit) => metadata[unit]);
      expect(kinds).toEqual([...kinds].sort((a, b) => (b ?? 0) - (a ?? 0)));
    }),
  );
});

test('ranges are the runs of marked units', () => {
  expect([...ranges(marked(0, 1, 5, 255))]).toEqual([
    { firstUnit: 0, units: 2 },
    { firstUnit: 5, units: 1 },
    { firstUnit: 255, units: 1 },
  ]);
  expect([...ranges(new Uint8Array(4))]).toEqual([]);
});
