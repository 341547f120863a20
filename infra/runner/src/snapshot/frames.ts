import { hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { FRAME_COMPRESSION } from '../../../../shared/snapshot/frame.ts';
import type { FrameRecord } from '../../../../shared/snapshot/frame-index.ts';
import { bytesOf, MAX_FRAME_UNITS, UNIT_BYTES, type UnitRange } from '../../../../shared/snapshot/units.ts';
import { bufferCollector } from './frame-memory.ts';
import type { Progress } from './progress.ts';
import { ranges } from './save-plan.ts';
import type { FramesUpload } from './upload.ts';

const compress = promisify(zstdCompress);

/** Runs in memory at once: twice as many as threads compress, so that none waits for the disk. */
const IN_FLIGHT = 2 * Math.min(4, availableParallelism());

const ZERO = Buffer.alloc(UNIT_BYTES);

/** A frame of the new object; `object` is not decided yet. */
export type NewFrame = Omit<FrameRecord, 'object'>;

/**
 * Reads runs of an image, compresses them and adds them to an upload, in order. Units that are zero are left out: they need no
 * record.
 *
 * @returns the frames, in the order of the upload
 */
export async function sendFrames(
  image: FileHandle,
  wanted: Iterable<UnitRange>,
  upload: FramesUpload,
  progress: Progress,
  signal?: AbortSignal,
): Promise<NewFrame[]> {
  const frames: NewFrame[] = [];
  const queue: Promise<Packed[]>[] = [];
  const collect = bufferCollector();
  const take = async () => {
    for (const { firstUnit, units, bytes } of (await queue.shift()) ?? []) {
      const offset = await upload.add(bytes);
      const sha256 = hash('sha256', bytes, 'buffer');
      frames.push({
        firstUnit,
        units,
        firstUnitInFrame: 0,
        frameUnits: units,
        offset,
        storedBytes: bytes.length,
        sha256,
      });
    }
  };
  try {
    for (const run of wanted) {
      signal?.throwIfAborted();
      const packing = pack(image, run);
      // Awaited in order; one that fails earlier must not end the program.
      packing.catch(() => undefined);
      queue.push(packing);
      progress.advance(bytesOf(run.units));
      // Its content, and the buffer of as many bytes that its compression gets.
      collect(2 * bytesOf(run.units));
      if (queue.length >= IN_FLIGHT) await take();
    }
    while (queue.length > 0) await take();
  } finally {
    await Promise.allSettled(queue);
  }
  return frames;
}

/**
 * Takes back the mark of units whose content is that of the parent: a discard of free blocks, or a file that was written again as
 * it was, changes addresses and no content.
 *
 * @param changed one byte per unit; is modified
 */
export async function unmarkEqual(changed: Uint8Array, image: FileHandle, parent: FileHandle): Promise<void> {
  const queue = piecesOf(changed);
  const worker = async () => {
    const [ours, theirs] = [Buffer.alloc(PIECE), Buffer.alloc(PIECE)];
    for (const { firstUnit, units } of queue) {
      const [at, length] = [bytesOf(firstUnit), bytesOf(units)];
      // A parent that is shorter has zeros there.
      theirs.fill(0);
      await Promise.all([image.read(ours, 0, length, at), parent.read(theirs, 0, length, at)]);
      for (let unit = 0; unit < units; unit += 1) {
        const [from, to] = [bytesOf(unit), bytesOf(unit + 1)];
        if (ours.compare(theirs, from, to, from, to) === 0) changed[firstUnit + unit] = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

const PIECE = bytesOf(MAX_FRAME_UNITS);

/** Runs of marked units of at most a frame. The marks of a run are read before they can change. */
function* piecesOf(marked: Uint8Array): Generator<UnitRange> {
  for (const { firstUnit, units } of ranges(marked)) {
    for (let done = 0; done < units; done += MAX_FRAME_UNITS) {
      yield { firstUnit: firstUnit + done, units: Math.min(MAX_FRAME_UNITS, units - done) };
    }
  }
}

type Packed = { firstUnit: number; units: number; bytes: Buffer };

async function pack(image: FileHandle, { firstUnit, units }: UnitRange): Promise<Packed[]> {
  const content = Buffer.allocUnsafe(bytesOf(units));
  const { bytesRead } = await image.read(content, 0, content.length, bytesOf(firstUnit));
  if (bytesRead !== content.length) throw new Error(`the image ends within unit ${firstUnit + units - 1}`);
  return Promise.all(
    withoutZeros(content, units).map(async ([from, to]) => {
      const bytes = await compress(content.subarray(bytesOf(from), bytesOf(to)), {
        ...FRAME_COMPRESSION,
        chunkSize: content.length,
        pledgedSrcSize: bytesOf(to - from),
      });
      return { firstUnit: firstUnit + from, units: to - from, bytes };
    }),
  );
}

/** The parts of a run without units of zeros. */
function withoutZeros(content: Buffer, units: number): [number, number][] {
  const found: [number, number][] = [];
  for (let unit = 0; unit < units; unit += 1) {
    if (content.compare(ZERO, 0, UNIT_BYTES, bytesOf(unit), bytesOf(unit + 1)) === 0) continue;
    const last = found.at(-1);
    if (last?.[1] === unit) last[1] = unit + 1;
    else found.push([unit, unit + 1]);
  }
  return found;
}
