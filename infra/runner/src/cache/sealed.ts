import { createHash, hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import {
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompress,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib';
import type { TemporaryFile } from './disk-tier.ts';

/**
 * An object of the cache: four bytes that name the format, the SHA-256 of the content, and the content, compressed with zstd. So a
 * changed bit is found whatever the object is, and before its content is used.
 */
const FORMAT = Buffer.from('AWC1', 'latin1');
const HEADER = FORMAT.length + 32;

/** Fast: a build waits for the processor more than for the network. */
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** An object is not what was stored. */
export class CorruptObject extends Error {
  override readonly name = 'CorruptObject';
}

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress) as (
  bytes: Buffer,
  options: { maxOutputLength: number },
) => Promise<Buffer>;

/** @param content that fits in memory */
export async function seal(content: Buffer): Promise<Buffer> {
  const digest = hash('sha256', content, 'buffer');
  return Buffer.concat([FORMAT, digest, await compress(content, OPTIONS)]);
}

/**
 * At once, for objects so small that a thread would take longer.
 *
 * @returns undefined if the content has more than `maxBytes`
 * @throws {CorruptObject}
 */
export function unsealSmall(object: Buffer, maxBytes: number): Buffer | undefined {
  const digest = header(object);
  let content: Buffer;
  try {
    content = zstdDecompressSync(object.subarray(HEADER), { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw new CorruptObject('the object cannot be decompressed', { cause });
  }
  if (!hash('sha256', content, 'buffer').equals(digest))
    throw new CorruptObject('the content of the object has another digest');
  return content;
}

/** @throws {CorruptObject} also if the content has more than `maxBytes` */
export async function unseal(object: Buffer, maxBytes: number): Promise<Buffer> {
  const digest = header(object);
  let content: Buffer;
  try {
    content = await decompress(object.subarray(HEADER), { maxOutputLength: maxBytes });
  } catch (cause) {
    throw new CorruptObject('the object cannot be decompressed', { cause });
  }
  if (!hash('sha256', content, 'buffer').equals(digest))
    throw new CorruptObject('the content of the object has another digest');
  return content;
}

/**
 * Seals a file of any size.
 *
 * @param target gets the object
 * @param sha256 of its content
 * @param signal ends it, since a large file takes longer than a drain
 * @returns size of the object, and its SHA-256 in base64, as S3 has it
 * @throws if the disk has no room for it
 */
export async function sealFile(
  source: string,
  target: TemporaryFile,
  sha256: string,
  signal: AbortSignal,
): Promise<{ bytes: number; checksum: string }> {
  const checksum = createHash('sha256');
  let bytes = 0;
  try {
    const write = async (piece: Buffer) => {
      signal.throwIfAborted();
      checksum.update(piece);
      bytes += piece.length;
      if (!(await target.write(piece))) throw new Error('the disk has no room for an upload');
    };
    await write(FORMAT);
    await write(Buffer.from(sha256, 'hex'));
    const compressed = createZstdCompress(OPTIONS);
    const reading = pipeline(createReadStream(source), compressed);
    // It is awaited only at the end: one that is given up before has an error too.
    reading.catch(() => {});
    for await (const piece of compressed) await write(piece);
    await reading;
  } finally {
    await target.close();
  }
  return { bytes, checksum: checksum.digest('base64') };
}

/**
 * The content of an object, piece by piece. The last piece comes only after all of it had the right digest.
 *
 * @param sha256 of the content, where it is known
 * @throws {CorruptObject} in place of the last piece
 */
export async function* unsealed(
  object: AsyncIterable<Buffer>,
  maxBytes: number,
  sha256?: string,
): AsyncGenerator<Buffer> {
  let digest: Buffer | undefined;
  async function* body(): AsyncGenerator<Buffer> {
    let start: Buffer = Buffer.alloc(0);
    for await (const piece of object) {
      if (digest) yield piece;
      else {
        start = Buffer.concat([start, piece]);
        if (start.length < HEADER) continue;
        digest = header(start);
        yield start.subarray(HEADER);
      }
    }
    if (!digest) throw new CorruptObject('the object is too short');
  }
  const seen = createHash('sha256');
  let held: Buffer | undefined;
  let bytes = 0;
  const content = createZstdDecompress();
  const reading = pipeline(Readable.from(body(), { objectMode: false }), content);
  // Its error is that of `content` too.
  reading.catch(() => {});
  try {
    for await (const piece of content) {
      seen.update(piece);
      bytes += piece.length;
      if (bytes > maxBytes) throw new CorruptObject(`the content has more than ${maxBytes} bytes`);
      if (held) yield held;
      held = piece;
    }
    await reading;
  } catch (cause) {
    if (isZstdError(cause)) throw new CorruptObject('the object cannot be decompressed', { cause });
    throw cause;
  }
  const found = seen.digest();
  if (!digest || !found.equals(digest) || (sha256 !== undefined && found.toString('hex') !== sha256))
    throw new CorruptObject('the content of the object has another digest');
  if (held) yield held;
}

function header(object: Buffer): Buffer {
  if (object.length < HEADER || !object.subarray(0, FORMAT.length).equals(FORMAT))
    throw new CorruptObject('the object has another format');
  return object.subarray(FORMAT.length, HEADER);
}

function isZstdError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code.startsWith('ZSTD') || code === 'Z_BUF_ERROR' || code === 'ERR_STREAM_PREMATURE_CLOSE';
}
