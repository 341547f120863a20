import * as v from 'valibot';
import { SET_NAME } from '../fleet/names.ts';
import { MAX_INDEX_BYTES } from './frame-index.ts';
import { SHA256, SNAPSHOT_ID } from './layout.ts';
import { bytesOf, MAX_IMAGE_UNITS, UNIT_BYTES } from './units.ts';

/** The format that this version reads and writes. A snapshot of any other format is unsupported. */
export const FORMAT_VERSION = 2;

/** Most bytes of a manifest. A longer one is refused before it is read. */
export const MAX_MANIFEST_BYTES = 256 * 1024;

/** Most objects whose frames an index names. A save merges the smallest ones beyond it. */
export const MAX_OBJECTS = 32;

/** Most parts of a multipart upload (S3 user guide, "Multipart upload limits"). */
const MAX_PARTS = 10_000;

/** Largest frames object: 1 TiB, the reach of an offset in the index. */
const MAX_OBJECT_BYTES = 2 ** 40;

/** Features of ext4 that an image may have. An image with any other one is unsupported, and no kernel mounts it. */
export const EXT4_FEATURES = [
  'ext_attr',
  'resize_inode',
  'dir_index',
  'filetype',
  'extent',
  '64bit',
  'flex_bg',
  'sparse_super',
  'large_file',
  'huge_file',
  'dir_nlink',
  'extra_isize',
  'metadata_csum',
] as const;

const sha256 = v.pipe(v.string(), v.regex(SHA256, 'must be a sha256'));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const atLeastOne = v.pipe(count, v.minValue(1));
const label = v.pipe(v.string(), v.nonEmpty(), v.maxLength(128));

/** Most characters of a text, and most words of a command: a save cuts longer ones. */
export const MAX_TEXT = 4096;
export const MAX_WORDS = 64;

const text = v.pipe(v.string(), v.maxLength(MAX_TEXT));
const id = v.pipe(v.string(), v.regex(SNAPSHOT_ID, 'must be the id of a snapshot'));

/** An object of frames: one multipart upload. */
const framesObject = v.object({
  /** The snapshot that added the frames; also the name of the object. */
  id,
  bytes: v.pipe(atLeastOne, v.maxValue(MAX_OBJECT_BYTES)),
  /** Parts of the upload. */
  parts: v.pipe(atLeastOne, v.maxValue(MAX_PARTS)),
  /** SHA-256 of the SHA-256 of the parts, as S3 computes it (`compositeChecksum`). */
  sha256,
});

/** `sets/<set>/snapshots/<id>/manifest.json`: written last, so that its presence is the snapshot. */
export const manifestSchema = v.pipe(
  v.object({
    formatVersion: v.literal(FORMAT_VERSION),
    set: v.pipe(v.string(), v.regex(SET_NAME)),
    id,
    createdAt: v.pipe(v.string(), v.maxLength(40), v.isoTimestamp()),
    /** Where jobs can use the image: its programs are for one architecture, its blocks for kernels with these features. */
    platform: v.object({
      os: label,
      arch: label,
      ext4Features: v.pipe(v.array(label), v.minLength(1), v.maxLength(64)),
    }),
    image: v.object({
      /** Size of the image, whole units. Most of it can be a hole. */
      bytes: v.pipe(
        atLeastOne,
        v.maxValue(bytesOf(MAX_IMAGE_UNITS)),
        v.check((bytes) => bytes % UNIT_BYTES === 0, `must be a multiple of ${UNIT_BYTES}`),
      ),
    }),
    /** The snapshot whose frames this one shares. Absent if the save has sent the whole image. */
    parent: v.optional(id),
    /**
     * The snapshot whose content the run started with, also if the save has sent the whole image. Absent if the run started with an
     * empty tree.
     */
    startedFrom: v.optional(id),
    /** The directories of the set in the image. */
    paths: v.pipe(v.array(text), v.maxLength(64)),
    /** The commit of the checkout that the run has warmed. */
    commit: v.optional(label),
    /** Program and arguments of the run. */
    command: v.optional(v.pipe(v.array(text), v.maxLength(MAX_WORDS))),
    /** The user that the command ran as. */
    user: v.optional(label),
    /** Result of `e2fsck -fn` over the image. */
    e2fsck: v.object({ version: label, exitCode: count }),
    index: v.object({ sha256, bytes: v.pipe(atLeastOne, v.maxValue(MAX_INDEX_BYTES)), records: atLeastOne }),
    /** The objects that the index names, by their number in the index. */
    frames: v.pipe(v.array(framesObject), v.minLength(1), v.maxLength(MAX_OBJECTS)),
    /** What a restore without a base fetches and writes. */
    totals: v.object({ frames: atLeastOne, storedBytes: atLeastOne, units: atLeastOne }),
    tool: v.object({ name: label, version: label }),
  }),
  v.check(
    ({ frames }) => new Set(frames.map((each) => each.id)).size === frames.length,
    'names frames twice',
  ),
  v.check(
    (manifest) => manifest.frames.every((each) => each.id <= manifest.id),
    'names frames of a later one',
  ),
  v.check(({ parent, id: own }) => parent === undefined || parent < own, 'is older than its parent'),
  v.check(
    ({ startedFrom, id: own }) => startedFrom === undefined || startedFrom < own,
    'is older than the snapshot that it started from',
  ),
  v.check(
    ({ parent, startedFrom }) => parent === undefined || startedFrom === undefined || parent === startedFrom,
    'has another parent than the snapshot that it started from',
  ),
  v.check(
    (manifest) => manifest.parent !== undefined || manifest.frames.every((each) => each.id === manifest.id),
    'has frames of other snapshots and no parent',
  ),
);

export type Manifest = v.InferOutput<typeof manifestSchema>;

/** The snapshot whose content is in this one; undefined if its run started with an empty tree. */
export function predecessorOf({
  startedFrom,
  parent,
}: Pick<Manifest, 'startedFrom' | 'parent'>): string | undefined {
  return startedFrom ?? parent;
}
export type FramesObject = Manifest['frames'][number];

/** Processor architectures of runners, by Node's names. */
const ARCHITECTURES = ['x64', 'arm64'];

/**
 * Why no runner can use the image, or undefined. Such a snapshot is unsupported and not broken.
 *
 * @param host the platform of an instance that is about to use the image; absent where none is concerned
 */
export function platformProblem(
  { platform }: Pick<Manifest, 'platform'>,
  host?: { os: string; arch: string },
): string | undefined {
  const { os, arch, ext4Features } = platform;
  if (os !== 'linux' || !ARCHITECTURES.includes(arch)) return `it is for ${os}/${arch}`;
  if (host && (host.os !== os || host.arch !== arch)) {
    return `it is for ${os}/${arch}, this is ${host.os}/${host.arch}`;
  }
  const unknown = ext4Features.filter((each) => !(EXT4_FEATURES as readonly string[]).includes(each));
  return unknown.length > 0 ? `its ext4 has unknown features: ${unknown.join(', ')}` : undefined;
}

/** The checksum that S3 reports for a frames object: base64 of the SHA-256 of the parts' SHA-256, `-` and the number of parts. */
export function compositeChecksum({ sha256: hex, parts }: Pick<FramesObject, 'sha256' | 'parts'>): string {
  return `${Buffer.from(hex, 'hex').toString('base64')}-${parts}`;
}
