import { createHash } from 'node:crypto';
import { constants, type ZstdOptions, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { FrameRecord } from './frame-index.ts';
import { bytesOf, MAX_FRAME_UNITS, UNIT_BYTES } from './units.ts';

/** How frames are compressed. A frame names its content's size and a checksum is not needed: the index has a sha256. */
export const FRAME_COMPRESSION: ZstdOptions = {
  params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_contentSizeFlag]: 1 },
};

/** Largest window of a frame, as a power of two: 2 MiB. Level 3 uses no larger one; a larger one could take 2 GiB of memory. */
const MAX_WINDOW_LOG = 21;

/** How frames are decompressed: the output and the window are bounded, whatever the stored bytes are. */
export function frameDecompression(frameUnits: number): ZstdOptions {
  return {
    params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    maxOutputLength: bytesOf(Math.min(frameUnits, MAX_FRAME_UNITS)),
  };
}

/** A frame of a snapshot, by the object that has it (the id of the snapshot that added it) and its offset there. */
export type FramePlace = { object: string; offset: number };

/** A frame is not what its record names. */
export class BrokenFrame extends Error {
  override readonly name = 'BrokenFrame';
  /** Where the frame is, if the code that found it knows that. */
  readonly place: FramePlace | undefined;

  constructor(message: string, options: ErrorOptions & { place?: FramePlace } = {}) {
    super(message, options);
    this.place = options.place;
  }
}

/** The stored form of a frame, and its sha256. @param content whole units, at most `MAX_FRAME_UNITS` */
export function encodeFrame(content: Uint8Array): { stored: Buffer; sha256: Buffer } {
  if (
    content.length === 0 ||
    content.length % UNIT_BYTES !== 0 ||
    content.length > bytesOf(MAX_FRAME_UNITS)
  ) {
    throw new RangeError(`a frame has 1 to ${MAX_FRAME_UNITS} whole units, not ${content.length} bytes`);
  }
  const stored = zstdCompressSync(content, FRAME_COMPRESSION);
  return { stored, sha256: createHash('sha256').update(stored).digest() };
}

/**
 * The content of a frame: `frameUnits` units.
 *
 * @param stored the frame's bytes in its object
 * @throws {BrokenFrame} if they have another length or sha256 than the record, or do not decompress to exactly its units
 */
export function decodeFrame(
  stored: Uint8Array,
  record: Pick<FrameRecord, 'storedBytes' | 'sha256' | 'frameUnits'>,
): Buffer {
  const problem = storedFrameProblem(stored, record);
  if (problem !== undefined) throw new BrokenFrame(problem);
  let content: Buffer;
  try {
    content = zstdDecompressSync(stored, frameDecompression(record.frameUnits));
  } catch (error) {
    throw new BrokenFrame('does not decompress to its units', { cause: error });
  }
  const expected = bytesOf(record.frameUnits);
  if (content.length === expected) return content;
  throw new BrokenFrame(`decompresses to ${content.length} bytes instead of ${expected}`);
}

/** Why stored bytes are not those of a record, or undefined. */
function storedFrameProblem(
  stored: Uint8Array,
  { storedBytes, sha256 }: Pick<FrameRecord, 'storedBytes' | 'sha256'>,
): string | undefined {
  if (stored.length !== storedBytes) return `has ${stored.length} bytes instead of ${storedBytes}`;
  const found = createHash('sha256').update(stored).digest();
  return found.equals(sha256) ? undefined : 'has another sha256';
}
