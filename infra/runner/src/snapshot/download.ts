import { type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises';
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import type { Layer } from '../../../../shared/snapshot/format-1/manifest.ts';
import { layerKey } from '../../../../shared/snapshot/layout.ts';
import { type HashThreads, hashThreads } from './hash-threads.ts';
import type { Paths } from './paths.ts';
import type { Progress } from './progress.ts';

/**
 * Parallel ranges. S3 gives each connection some 90 MB/s (S3 performance guidelines), so this many fill 10 Gbit/s. Each holds the
 * bytes that have just arrived, never a chunk, so that the whole program stays below 300 MB.
 */
const PARALLEL_RANGES = 16;

/** Bytes per write. A write costs a switch to another thread, which is too expensive per piece of the network (64 KiB). */
const WRITE_BYTES = 1024 * 1024;

/** Attempts per range: a dropped connection is common, a checksum that is wrong three times means a broken layer. */
const MAX_ATTEMPTS = 3;

/** A layer in S3 differs from its manifest. */
export class BrokenLayer extends Error {
  override readonly name = 'BrokenLayer';
}

/** The source of layers. */
export type LayerSource = { s3: Pick<S3Client, 'send'>; bucket: string; set: string };

/** One chunk of one layer. */
type Range = { layer: Layer; index: number; start: number; length: number };

/** The file that receives a layer, and the threads that compute its checksums. */
type Part = { file: FileHandle; path: string; threads: HashThreads };

/**
 * Downloads layers, all of their chunks in parallel. Each chunk is written in place and verified on arrival. Complete layers on
 * the disk are recognised by name, chunks of an interrupted download by checksum; neither is fetched again.
 *
 * @returns bytes that were fetched
 * @throws {BrokenLayer}; errors of S3 and of the file system
 */
export async function downloadLayers(
  layers: readonly Layer[],
  source: LayerSource,
  paths: Paths,
  progress: Progress,
  signal?: AbortSignal,
): Promise<number> {
  await mkdir(paths.layers, { recursive: true });
  const missing: Layer[] = [];
  for (const layer of layers) if (!(await isComplete(paths, layer))) missing.push(layer);
  progress.begin(
    'download',
    missing.reduce((sum, layer) => sum + layer.bytes, 0),
  );

  const parts = new Map<string, Part>();
  const threads = hashThreads();
  try {
    for (const layer of missing) parts.set(layer.sha256, await openPart(paths, layer, threads));
    const fetched = await fetchRanges(missing.flatMap(rangesOf), parts, source, progress, signal);
    for (const [sha256, { file, path }] of parts) {
      await file.sync();
      await rename(path, paths.layerFile(sha256));
    }
    progress.end(`${layers.length - missing.length} of ${layers.length} layers were on the disk`);
    return fetched;
  } finally {
    await threads.close();
    for (const { file } of parts.values()) await file.close();
  }
}

/** A file gets a layer's name only after all of it is verified. */
async function isComplete(paths: Paths, layer: Layer): Promise<boolean> {
  const found = await stat(paths.layerFile(layer.sha256)).catch(() => undefined);
  return found?.size === layer.bytes;
}

async function openPart(paths: Paths, layer: Layer, threads: HashThreads): Promise<Part> {
  const path = paths.partFile(layer.sha256);
  const file = await open(path, 'a+').then(async (created) => {
    await created.close();
    return open(path, 'r+');
  });
  await file.truncate(layer.bytes);
  return { file, path, threads };
}

function rangesOf(layer: Layer): Range[] {
  return layer.chunks.map((_, index) => {
    const start = index * layer.chunkBytes;
    return { layer, index, start, length: Math.min(layer.chunkBytes, layer.bytes - start) };
  });
}

async function fetchRanges(
  ranges: readonly Range[],
  parts: ReadonlyMap<string, Part>,
  source: LayerSource,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<number> {
  const queue = ranges.values();
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let fetched = 0;
  const worker = async () => {
    for (const range of queue) {
      both.throwIfAborted();
      const part = parts.get(range.layer.sha256);
      if (!part) throw new Error(`layer ${range.layer.sha256} has no file`);
      if (await isThere(range, part)) {
        progress.advance(range.length);
        continue;
      }
      const received = await fetchRange(range, part, source, progress, both);
      fetched += received;
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL_RANGES }, worker));
  } catch (error) {
    // The other workers stop.
    stop.abort(error);
    throw error;
  }
  return fetched;
}

/** Whether the disk has this chunk from an interrupted download. A hole reads as zeros, which no checksum matches. */
async function isThere(range: Range, part: Part): Promise<boolean> {
  const first = Buffer.alloc(Math.min(4096, range.length));
  await part.file.read(first, 0, first.length, range.start);
  return first.some((byte) => byte !== 0) && isRight(range, part);
}

/** Whether the chunk on the disk has the checksum of the manifest. A thread computes it from the page cache, during the download. */
async function isRight({ layer, index, start, length }: Range, { path, threads }: Part): Promise<boolean> {
  return (await threads.hash(path, start, length)) === layer.chunks[index];
}

async function fetchRange(
  range: Range,
  part: Part,
  source: LayerSource,
  progress: Progress,
  signal: AbortSignal,
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    let received = 0;
    try {
      for await (const pieces of gathered(await openRange(range, source, signal))) {
        const bytes = await writeAll(part.file, pieces, range.start + received);
        received += bytes;
        progress.advance(bytes);
      }
      if (received !== range.length || !(await isRight(range, part))) {
        throw new BrokenLayer(
          `chunk ${range.index} of layer ${range.layer.sha256} differs from the manifest (${received} bytes)`,
        );
      }
      return received;
    } catch (error) {
      progress.advance(-received);
      if (attempt >= MAX_ATTEMPTS || signal.aborted || isFinal(error)) throw error;
    }
  }
}

/** `writev` may write a part only: near the end of a disk, or of a quota. */
async function writeAll(file: FileHandle, pieces: Uint8Array[], position: number): Promise<number> {
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  let { bytesWritten: done } = await file.writev(pieces, position);
  if (done < total) {
    const rest = Buffer.concat(pieces);
    while (done < total) {
      const { bytesWritten } = await file.write(rest, done, total - done, position + done);
      done += bytesWritten;
    }
  }
  return total;
}

/** Pieces of the network in groups of a size for one write. */
async function* gathered(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[]> {
  let group: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    group.push(piece);
    bytes += piece.length;
    if (bytes < WRITE_BYTES) continue;
    yield group;
    [group, bytes] = [[], 0];
  }
  if (group.length > 0) yield group;
}

async function openRange(
  { layer, start, length }: Range,
  { s3, bucket, set }: LayerSource,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  try {
    const { Body } = await s3.send(
      new GetObjectCommand({
        Bucket: bucket,
        Key: layerKey(set, layer.sha256),
        Range: `bytes=${start}-${start + length - 1}`,
      }),
      { abortSignal: signal },
    );
    return Body as AsyncIterable<Uint8Array>;
  } catch (error) {
    // Another attempt does not bring back a layer that is missing or too short.
    if (error instanceof Error && /^(NoSuchKey|NotFound|InvalidRange)$/.test(error.name)) {
      throw new BrokenLayer(`layer ${layer.sha256} is missing or too short: ${error.name}`, { cause: error });
    }
    throw error;
  }
}

/** Errors that another attempt would meet again. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return (
    error.name === 'AccessDenied' || error.name === 'NoSuchBucket' || code === 'ENOSPC' || code === 'EROFS'
  );
}
