import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { encodeFrame } from '../../shared/snapshot/frame.ts';
import { type FrameIndex, indexBuilder } from '../../shared/snapshot/frame-index.ts';
import { MAX_FRAME_UNITS, UNIT_BYTES } from '../../shared/snapshot/units.ts';

/** An image as a save without a parent stores it: one object of frames, and their index. */
export type StoredImage = { index: FrameIndex; bytes: number };

/**
 * Stores an unmounted image.
 *
 * @param write receives the object, in pieces
 * @param isFirst whether a unit belongs to the frames that a restore fetches first, and that lie first in the object
 */
export function storeImage(
  file: string,
  write: (frame: Uint8Array) => void,
  isFirst: (unit: number) => boolean = () => false,
): StoredImage {
  const image = openSync(file, 'r');
  const imageUnits = fstatSync(image).size / UNIT_BYTES;
  const unit = Buffer.alloc(UNIT_BYTES);
  const zero = Buffer.alloc(UNIT_BYTES);
  type Run = { firstUnit: number; units: number; first: boolean };
  const runs: Run[] = [];
  for (let number = 0; number < imageUnits; number += 1) {
    readSync(image, unit, 0, UNIT_BYTES, number * UNIT_BYTES);
    if (unit.equals(zero)) continue;
    const last = runs.at(-1);
    const first = isFirst(number);
    const isNext = last && last.firstUnit + last.units === number && last.first === first;
    if (last && isNext && last.units < MAX_FRAME_UNITS) last.units += 1;
    else runs.push({ firstUnit: number, units: 1, first });
  }
  let offset = 0;
  const places = new Map<Run, { offset: number; storedBytes: number; sha256: Buffer }>();
  for (const run of [...runs.filter((each) => each.first), ...runs.filter((each) => !each.first)]) {
    const frame = Buffer.alloc(run.units * UNIT_BYTES);
    readSync(image, frame, 0, frame.length, run.firstUnit * UNIT_BYTES);
    const { stored, sha256 } = encodeFrame(frame);
    places.set(run, { offset, storedBytes: stored.length, sha256 });
    offset += stored.length;
    write(stored);
  }
  closeSync(image);
  const builder = indexBuilder({ imageUnits, objects: 1 });
  for (const run of runs) {
    const place = places.get(run);
    if (!place) throw new Error(`no frame for unit ${run.firstUnit}`);
    const { firstUnit, units } = run;
    builder.add({ firstUnit, units, firstUnitInFrame: 0, frameUnits: units, object: 0, ...place });
  }
  const firsts = runs.filter((each) => each.first).map((each) => each.firstUnit);
  return { index: builder.finish(firsts), bytes: offset };
}
