import { createHash } from 'node:crypto';
import { layerKey } from './layout.ts';
import type { Layer, Manifest } from './manifest.ts';
import { CorruptRecord, readManifest } from './records.ts';
import type { ObjectStore } from './store.ts';

/**
 * Reads every claim of a manifest back from S3. Chunks are read a few at a time and dropped once they are hashed, so that
 * memory does not grow with the snapshot.
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
  },
): Promise<Verdict> {
  const manifest = await readOrReason(store, set, id);
  if (manifest === undefined) return { verdict: 'missing' };
  if (typeof manifest === 'string') return { verdict: 'broken', reason: manifest };
  // All sizes first: it is one cheap call a layer, and finds what is missing or truncated before any gigabyte is read.
  for (const layer of manifest.layers) {
    const size = await store.size(layerKey(set, layer.sha256));
    if (size === undefined) return { verdict: 'broken', reason: `layer ${layer.sha256} is missing` };
    if (size !== layer.bytes) {
      return {
        verdict: 'broken',
        reason: `layer ${layer.sha256} has ${size} bytes instead of ${layer.bytes}`,
      };
    }
  }
  let bytesRead = 0;
  for (const layer of manifest.layers) {
    if (options.verified?.has(layer.sha256)) continue;
    const outcome = await verifyLayer(store, set, layer, () => options.now() >= (options.until ?? Infinity));
    bytesRead += outcome.bytesRead;
    if (outcome.reason !== undefined) return { verdict: 'broken', reason: outcome.reason };
    if (outcome.unfinished) return { verdict: 'unfinished', bytesRead };
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
