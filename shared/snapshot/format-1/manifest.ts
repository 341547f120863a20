import * as v from 'valibot';
import { SET_NAME } from '../../fleet/names.ts';
import { SHA256, SNAPSHOT_ID } from '../layout.ts';

/** The format that this code writes, and the newest that it reads. */
export const FORMAT_VERSION = 1;

const MIB = 1024 * 1024;

/** Least size of a chunk, in bytes: the manifest lists a checksum per chunk, and a restore verifies chunk by chunk. */
export const CHUNK_BYTES = 16 * MIB;

/** Most parts of a multipart upload (S3 quotas). A chunk is one part. */
const MAX_CHUNKS = 10_000;

/** Size of each chunk but the last of a layer of `bytes` bytes: a whole number of MiB, so that 10,000 chunks suffice. */
export function chunkBytesFor(bytes: number): number {
  return Math.max(CHUNK_BYTES, Math.ceil(bytes / MAX_CHUNKS / MIB) * MIB);
}

/** Overlayfs stacks at most 500 lower layers (Linux, fs/overlayfs, OVL_MAX_STACK); compaction keeps far below. */
const MAX_LAYERS = 128;

const sha256 = v.pipe(v.string(), v.regex(SHA256, 'must be a sha256'));
const bytes = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const instant = v.pipe(v.string(), v.isoTimestamp());
const label = v.pipe(v.string(), v.maxLength(128));

const layerSchema = v.pipe(
  v.object({
    /** Of the whole layer; also its name in the bucket. */
    sha256,
    /** Size of the layer as stored. */
    bytes: v.pipe(bytes, v.minValue(1)),
    /** Size of each chunk but the last. */
    chunkBytes: v.pipe(bytes, v.minValue(1024), v.maxValue(64 * 1024 * 1024)),
    /** sha256 of each chunk, in order. */
    chunks: v.pipe(v.array(sha256), v.minLength(1)),
    /**
     * Only an overlay mount shows this layer as it is: it hides a whole directory of the layers below, or has moved one.
     * Without root it cannot be extracted over them.
     */
    overlayOnly: v.optional(v.boolean(), false),
    /** Regular files in the layer. */
    files: bytes,
    /** Size of the layer's content before compression. */
    contentBytes: bytes,
    /** Content of the layers below that this one hides: what it replaces or deletes. Absent in old manifests. */
    hidesBytes: v.optional(bytes),
  }),
  v.check(
    (layer) => layer.chunks.length === Math.ceil(layer.bytes / layer.chunkBytes),
    'must have one checksum per chunk',
  ),
);

/** `sets/<set>/snapshots/<id>/manifest.json`: written last, so that its presence is the snapshot. */
export const manifestSchema = v.object({
  formatVersion: v.pipe(v.number(), v.integer(), v.minValue(1)),
  set: v.pipe(v.string(), v.regex(SET_NAME)),
  id: v.pipe(v.string(), v.regex(SNAPSHOT_ID)),
  createdAt: instant,
  platform: v.object({
    os: label,
    arch: label,
    /** Kernel features that mounting needs, such as `squashfs-zstd`. */
    requires: v.array(label),
  }),
  bazelVersion: v.optional(label),
  /** Bottom first. */
  layers: v.pipe(v.array(layerSchema), v.minLength(1), v.maxLength(MAX_LAYERS)),
  totals: v.object({ bytes, files: bytes, contentBytes: bytes }),
  /** The snapshot this one was made on top of. */
  parent: v.optional(v.pipe(v.string(), v.regex(SNAPSHOT_ID))),
  tool: v.object({ name: label, version: label }),
});

export type Manifest = v.InferOutput<typeof manifestSchema>;
export type Layer = Manifest['layers'][number];
