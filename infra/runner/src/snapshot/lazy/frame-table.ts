import type { FrameFetch, UnitWrite } from '../../../../../shared/snapshot/restore-plan.ts';

/** The frames that a restore fetches, by their position in the order of the fetch. */
export type FrameTable = {
  count: number;
  object(frame: number): number;
  offset(frame: number): number;
  storedBytes(frame: number): number;
  /** Units of the decompressed frame. */
  frameUnits(frame: number): number;
  /** Of the stored bytes, 32 bytes. */
  sha256(frame: number): Buffer;
  writes(frame: number): UnitWrite[];
  /**
   * Per unit of the image: 0 if the local file has it, else the number of its frame plus 1. In memory that threads share. Most of
   * an image is a hole, and zeros that nothing touches take no memory.
   */
  missing: Int32Array<SharedArrayBuffer>;
};

const SHA256_BYTES = 32;

/**
 * A plan in columns: with an object per frame, the plan of 300 GB takes more memory than this process may have.
 *
 * @param fetches in the order of the fetch; the iterable is read twice
 */
export function frameTable(fetches: () => Iterable<FrameFetch>, imageUnits: number): FrameTable {
  let [count, writeCount] = [0, 0];
  for (const { writes } of fetches()) {
    count += 1;
    writeCount += writes.length;
  }
  const object = new Uint8Array(count);
  const offset = new Float64Array(count);
  const storedBytes = new Uint32Array(count);
  const frameUnits = new Uint8Array(count);
  const sha256 = Buffer.alloc(count * SHA256_BYTES);
  const firstWrite = new Uint32Array(count + 1);
  const firstUnit = new Uint32Array(writeCount);
  const units = new Uint8Array(writeCount);
  const firstUnitInFrame = new Uint8Array(writeCount);
  const missing = new Int32Array(new SharedArrayBuffer(imageUnits * Int32Array.BYTES_PER_ELEMENT));

  let [frame, write] = [0, 0];
  for (const fetch of fetches()) {
    object[frame] = fetch.object;
    offset[frame] = fetch.offset;
    storedBytes[frame] = fetch.storedBytes;
    frameUnits[frame] = fetch.frameUnits;
    sha256.set(fetch.sha256, frame * SHA256_BYTES);
    for (const each of fetch.writes) {
      firstUnit[write] = each.firstUnit;
      units[write] = each.units;
      firstUnitInFrame[write] = each.firstUnitInFrame;
      missing.fill(frame + 1, each.firstUnit, each.firstUnit + each.units);
      write += 1;
    }
    frame += 1;
    firstWrite[frame] = write;
  }

  const at = (column: { readonly [index: number]: number }, index: number) => column[index] as number;
  return {
    count,
    object: (each) => at(object, each),
    offset: (each) => at(offset, each),
    storedBytes: (each) => at(storedBytes, each),
    frameUnits: (each) => at(frameUnits, each),
    sha256: (each) => sha256.subarray(each * SHA256_BYTES, (each + 1) * SHA256_BYTES),
    writes(each) {
      const [from, to] = [at(firstWrite, each), at(firstWrite, each + 1)];
      return Array.from({ length: to - from }, (_, index) => ({
        firstUnit: at(firstUnit, from + index),
        units: at(units, from + index),
        firstUnitInFrame: at(firstUnitInFrame, from + index),
      }));
    },
    missing,
  };
}
