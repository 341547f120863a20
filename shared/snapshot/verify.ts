import { createHash } from 'node:crypto';
import { layerKey } from './layout.ts';
import type { Layer, Manifest } from './manifest.ts';
import { CorruptRecord, readManifest } from './records.ts';
import type { ObjectStore } from './store.ts';

/**
 * Reads every claim of a manifest back from S3, cheapest first:
 *
 * 1. each layer is there, in its size: one call a layer, and no gigabyte is read for what is missing or truncated;
 * 2. every chunk is read back and hashed, a few at a time and dropped at once, so that memory does not grow with the
 *    snapshot.
 *
 * A function has a quarter of an hour and some 100 MB/s, so that 2 may not end in one go. The layers which are done are
 * remembered by the caller and not read again. A caller that cannot come again may take, for the rest, the checksum that S3
 * took of each layer when it came (`acceptVouched`): layers are uploaded in parts that are their chunks, so that the manifest
 * says what that checksum must be, and S3 keeps checking what it stores against it.
 */

/** Chunks under way at once: 4 x 16 MiB is far below a function's memory, and enough to fill its link. */
const PARALLEL_CHUNKS = 4;

/** What verification found. `unfinished`: nothing wrong so far, but the time was up. */
export type Verdict =
  | { verdict: 'sound'; manifest: Manifest; bytesRead: number }
  | { verdict: 'broken'; reason: string }
  | { verdict: 'missing' }
  | { verdict: 'unfinished'; bytesRead: number };

/**
 * @param options.until stop reading chunks at this time, in milliseconds since 1970
 * @param options.verified sha256 of layers that need not be read again, because an earlier call found them sound
 * @param options.onLayer called with each layer that was read and is sound
 * @param options.acceptVouched past `until`, take a layer for sound if the checksum that S3 took of it is right
 * @throws what S3 throws: a failed read says nothing about the snapshot
 */
export async function verifySnapshot(
  store: ObjectStore,
  set: string,
  id: string,
  options: {
    now: () => number;
    until?: number;
    verified?: ReadonlySet<string>;
    onLayer?: (sha256: string) => void;
    acceptVouched?: boolean;
  },
): Promise<Verdict> {
  const manifest = await readOrReason(store, set, id);
  if (manifest === undefined) return { verdict: 'missing' };
  if (typeof manifest === 'string') return { verdict: 'broken', reason: manifest };
  for (const layer of manifest.layers) {
    const reason = await sizeProblem(store, set, layer);
    if (reason !== undefined) return { verdict: 'broken', reason };
  }
  let bytesRead = 0;
  for (const layer of manifest.layers) {
    if (options.verified?.has(layer.sha256)) continue;
    const timeIsUp = () => options.now() >= (options.until ?? Number.POSITIVE_INFINITY);
    const outcome = await verifyLayer(store, set, layer, timeIsUp);
    bytesRead += outcome.bytesRead;
    if (outcome.reason !== undefined) return { verdict: 'broken', reason: outcome.reason };
    if (outcome.unfinished) {
      if (!options.acceptVouched || !(await isVouched(store, set, layer)))
        return { verdict: 'unfinished', bytesRead };
      continue;
    }
    options.onLayer?.(layer.sha256);
  }
  return { verdict: 'sound', manifest, bytesRead };
}

async function readOrReason(
  store: ObjectStore,
  set: string,
  id: string,
): Promise<Manifest | string | undefined> {
  try {
    return await readManifest(store, set, id);
  } catch (error) {
    if (error instanceof CorruptRecord) return error.message;
    throw error;
  }
}

async function sizeProblem(store: ObjectStore, set: string, layer: Layer): Promise<string | undefined> {
  const size = await store.size(layerKey(set, layer.sha256));
  if (size === undefined) return `layer ${layer.sha256} is missing`;
  if (size === layer.bytes) return undefined;
  return `layer ${layer.sha256} has ${size} bytes instead of ${layer.bytes}`;
}

async function isVouched(store: ObjectStore, set: string, layer: Layer): Promise<boolean> {
  const checksum = await store.checksum?.(layerKey(set, layer.sha256));
  return checksum !== undefined && expectedChecksums(layer).includes(checksum);
}

/** What S3 says of a layer that it took whole, and of one that came in parts of a chunk each. */
export function expectedChecksums({ sha256, chunks }: Pick<Layer, 'sha256' | 'chunks'>): string[] {
  const ofChunks = createHash('sha256')
    .update(Buffer.from(chunks.join(''), 'hex'))
    .digest('base64');
  return [Buffer.from(sha256, 'hex').toString('base64'), `${ofChunks}-${chunks.length}`];
}

async function verifyLayer(
  store: ObjectStore,
  set: string,
  layer: Layer,
  timeIsUp: () => boolean,
): Promise<{ bytesRead: number; reason?: string; unfinished?: boolean }> {
  const whole = createHash('sha256');
  let bytesRead = 0;
  for (let first = 0; first < layer.chunks.length; first += PARALLEL_CHUNKS) {
    if (timeIsUp()) return { bytesRead, unfinished: true };
    const wanted = layer.chunks.slice(first, first + PARALLEL_CHUNKS);
    const chunks = await Promise.all(
      wanted.map((_, index) => {
        const start = (first + index) * layer.chunkBytes;
        const length = Math.min(layer.chunkBytes, layer.bytes - start);
        return store.readRange(layerKey(set, layer.sha256), start, length);
      }),
    );
    for (const [index, chunk] of chunks.entries()) {
      bytesRead += chunk.length;
      whole.update(chunk);
      if (createHash('sha256').update(chunk).digest('hex') !== wanted[index]) {
        return { bytesRead, reason: `layer ${layer.sha256}: chunk ${first + index} has another checksum` };
      }
    }
  }
  if (whole.digest('hex') !== layer.sha256)
    return { bytesRead, reason: `layer ${layer.sha256} has another checksum` };
  return { bytesRead };
}
