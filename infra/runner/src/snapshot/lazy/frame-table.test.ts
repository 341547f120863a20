import { describe, expect, it } from 'vitest';
import { indexBuilder } from '../../../../../shared/snapshot/frame-index.ts';
import { planRestore } from '../../../../../shared/snapshot/restore-plan.ts';
import { frameTable } from './frame-table.ts';

const sha256 = (byte: number) => Buffer.alloc(32, byte);

/** Frame 0 has units 2 to 5, of which a later frame replaced unit 3; unit 9 is in a frame of its own that is fetched first. */
function index() {
  const builder = indexBuilder({ imageUnits: 12, objects: 2 });
  const first = { object: 0, offset: 100, storedBytes: 50, frameUnits: 4, sha256: sha256(1) };
  const later = {
    object: 1,
    offset: 0,
    storedBytes: 20,
    frameUnits: 1,
    sha256: sha256(2),
    firstUnitInFrame: 0,
  };
  builder.add({ ...first, firstUnit: 2, units: 1, firstUnitInFrame: 0 });
  builder.add({ ...later, firstUnit: 3, units: 1 });
  builder.add({ ...first, firstUnit: 4, units: 2, firstUnitInFrame: 2 });
  builder.add({ ...later, offset: 20, firstUnit: 9, units: 1, sha256: sha256(3) });
  return builder.finish([9]);
}

describe('frameTable', () => {
  const plan = planRestore(index());
  const table = frameTable(() => plan.fetches(), 12);

  it('numbers the frames in the order of the fetch', () => {
    const frames = Array.from({ length: table.count }, (_, frame) => [
      table.object(frame),
      table.offset(frame),
      table.storedBytes(frame),
      table.frameUnits(frame),
      table.sha256(frame)[0],
    ]);
    expect(frames).toEqual([
      [1, 20, 20, 1, 3],
      [0, 100, 50, 4, 1],
      [1, 0, 20, 1, 2],
    ]);
  });

  it('has all runs of units that a frame holds', () => {
    expect(table.writes(1)).toEqual([
      { firstUnit: 2, units: 1, firstUnitInFrame: 0 },
      { firstUnit: 4, units: 2, firstUnitInFrame: 2 },
    ]);
  });

  it('names the missing frame of each unit, and none for units of zeros', () => {
    expect([...table.missing]).toEqual([0, 0, 2, 3, 2, 2, 0, 0, 0, 1, 0, 0]);
  });

  it('has only what differs from an older image', () => {
    const older = indexBuilder({ imageUnits: 12, objects: 1 });
    const frame = { object: 0, offset: 0, storedBytes: 50, frameUnits: 4, sha256: sha256(1) };
    older.add({ ...frame, firstUnit: 2, units: 4, firstUnitInFrame: 0 });
    const difference = planRestore(index(), older.finish());
    expect([...frameTable(() => difference.fetches(), 12).missing]).toEqual([
      0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0,
    ]);
  });
});
