import { createHash } from 'node:crypto';
import { layerKey } from '../layout.ts';
import type { ObjectStore } from '../store.ts';
import type { Layer, Manifest } from './manifest.ts';
import { CorruptRecord, readManifest, UnsupportedFormat } from './records.ts';

/**
 * Verifies the manifest of a snapshot against S3, cheapest first:
 *
 * 1. `verifySizes`: each layer exists with its size. One call per layer, and no gigabyte is read for a missing layer.
 * 2. `verifySnapshot`: each chunk is read and hashed, until the time for reading is over. The remaining layers are compared
 *    with the checksum that S3 computed at the upload. A chunk is a part of the upload, so the manifest implies that checksum,
 *    and S3 verifies what it stores against it. Verification therefore ends in one invocation, whatever the size.
 */

/** Chunks in flight: 4 x 16 MiB are far below the memory of a function, and enough for its link. */
const PARALLEL_CHUNKS = 4;

/** A problem of a snapshot, or that this version does not read its format. */
export type Problem =
  | { verdict: 'broken'; reason: string }
  | { verdict: 'missing' }
  | { verdict: 'unsupported'; reason: string };

export type Verdict = { verdict: 'sound'; manifest: Manifest; bytesRead: number } | Problem;

/**
 * @param options.readUntil stop reading chunks at this time, in milliseconds since 1970
 * @param options.verified sha256 of layers that an earlier verification found sound
 * @throws the errors of S3: a failed read is no verdict about the snapshot
 */
export async function verifySnapshot(
  store: ObjectStore,
  set: string,
  id: string,
  options: { now: () => number; readUntil?: number; verified?: ReadonlySet<string> },
): Promise<Verdict> {
  const sizes = await verifySizes(store, set, id);
  if ('verdict' in sizes) return sizes;
  const { manifest } = sizes;
  const canRead = () => options.now() < (options.readUntil ?? Number.POSITIVE_INFINITY);
  let bytesRead = 0;
  for (const layer of manifest.layers) {
    if (options.verified?.has(layer.sha256)) continue;
    const read = await readLayer(store, set, layer, canRead);
    bytesRead += read.bytesRead;
    const problem = read.complete ? read.problem : await checksumProblem(store, set, layer);
    if (problem !== undefined) return { verdict: 'broken', reason: problem };
  }
  return { verdict: 'sound', manifest, bytesRead };
}

/** Verifies only that the manifest is readable and that each layer exists with its size. */
export async function verifySizes(
  store: ObjectStore,
  set: string,
  id: string,
): Promise<{ manifest: Manifest } | Problem> {
  let manifest: Manifest | undefined;
  try {
    manifest = await readManifest(store, set, id);
  } catch (error) {
    if (error instanceof CorruptRecord) return { verdict: 'broken', reason: error.message };
    if (error instanceof UnsupportedFormat) return { verdict: 'unsupported', reason: error.message };
    throw error;
  }
  if (!manifest) return { verdict: 'missing' };
  for (const { sha256, bytes } of manifest.layers) {
    const size = (await store.head(layerKey(set, sha256)))?.bytes;
    if (size === bytes) continue;
    const reason =
      size === undefined
        ? `layer ${sha256} is missing`
        : `layer ${sha256} has ${size} bytes instead of ${bytes}`;
    return { verdict: 'broken', reason };
  }
  return { manifest };
}

async function checksumProblem(store: ObjectStore, set: string, layer: Layer): Promise<string | undefined> {
  const checksum = (await store.head(layerKey(set, layer.sha256)))?.checksum;
  if (checksum === undefined) return `layer ${layer.sha256} has no SHA-256 in S3 and is too large to read`;
  if (expectedChecksums(layer).includes(checksum)) return undefined;
  return `layer ${layer.sha256} has another checksum in S3`;
}

/** The checksums that S3 reports for a layer that was uploaded whole, and for one that was uploaded chunk by chunk. */
export function expectedChecksums({ sha256, chunks }: Pick<Layer, 'sha256' | 'chunks'>): string[] {
  const ofChunks = createHash('sha256')
    .update(Buffer.from(chunks.join(''), 'hex'))
    .digest('base64');
  return [Buffer.from(sha256, 'hex').toString('base64'), `${ofChunks}-${chunks.length}`];
}

type LayerRead = { bytesRead: number; complete: boolean; problem?: string };

async function readLayer(
  store: ObjectStore,
  set: string,
  layer: Layer,
  canRead: () => boolean,
): Promise<LayerRead> {
  const whole = createHash('sha256');
  let bytesRead = 0;
  for (let first = 0; first < layer.chunks.length; first += PARALLEL_CHUNKS) {
    if (!canRead()) return { bytesRead, complete: false };
    const expected = layer.chunks.slice(first, first + PARALLEL_CHUNKS);
    const chunks = await Promise.all(
      expected.map((_, index) => {
        const start = (first + index) * layer.chunkBytes;
        const length = Math.min(layer.chunkBytes, layer.bytes - start);
        return store.readRange(layerKey(set, layer.sha256), start, length);
      }),
    );
    for (const [index, chunk] of chunks.entries()) {
      bytesRead += chunk.length;
      whole.update(chunk);
      if (createHash('sha256').update(chunk).digest('hex') !== expected[index]) {
        const problem = `layer ${layer.sha256}: chunk ${first + index} has another checksum`;
        return { bytesRead, complete: true, problem };
      }
    }
  }
  if (whole.digest('hex') === layer.sha256) return { bytesRead, complete: true };
  return { bytesRead, complete: true, problem: `layer ${layer.sha256} has another checksum` };
}
