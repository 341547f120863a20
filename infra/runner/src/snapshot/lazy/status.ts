import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';

/**
 * The directory of a lazy start, below /run: it ends with the boot, as mounts do. One program writes each file: aw-runner the
 * request, the process that serves the image the status.
 */
export function lazyPaths(directory: string) {
  return {
    directory,
    request: join(directory, 'request.json'),
    status: join(directory, 'status.json'),
    /** The image as one file, served by FUSE: a mount point. */
    served: join(directory, 'image'),
    /** The image, mounted read-only. */
    lower: join(directory, 'lower'),
    log: join(directory, 'log'),
    /** Places of the metadata in the image, and the program that reads them. */
    metadata: join(directory, 'metadata.json'),
    reader: join(directory, 'reader.json'),
  };
}

export type LazyPaths = ReturnType<typeof lazyPaths>;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** An index as a file on the disk, with what the manifest has about it. */
const storedIndex = v.object({
  file: v.string(),
  sha256: v.string(),
  imageBytes: count,
  /** Of the frames objects, by their number in the index. */
  objects: v.array(v.object({ bytes: count })),
});

const requestSchema = v.object({
  bucket: v.string(),
  region: v.optional(v.string()),
  /** Keys of the frames objects, by their number in the index. */
  objects: v.array(v.string()),
  index: storedIndex,
  /** The index of the image that the local one is a clone of; absent: the local image is one hole. */
  base: v.optional(storedIndex),
  /** The local image. It has its full size, and zeros in every unit that is zero in the snapshot. */
  image: v.object({ file: v.string(), bytes: count }),
  patienceSeconds: v.pipe(v.number(), v.minValue(0)),
});

export type StoredIndex = v.InferOutput<typeof storedIndex>;

/** What aw-runner asks of the process that serves an image. */
export type LazyRequest = v.InferOutput<typeof requestSchema>;

const progress = v.object({
  frames: count,
  ofFrames: count,
  fetchedBytes: count,
  /** Reads that waited for a frame. */
  misses: count,
  /** Since the first request. */
  seconds: v.pipe(v.number(), v.minValue(0)),
});

const statusSchema = v.object({
  process: v.object({ pid: count, startTime: v.string() }),
  /**
   * `starting`: the image is not served yet. `filling`: reads of missing frames wait. `complete`: the local image is complete and on the disk. `failed`: reads of missing
   * frames fail with EIO; nothing is repaired.
   */
  state: v.picklist(['starting', 'filling', 'complete', 'failed']),
  /** Why the fetch has failed; `isBroken`: the snapshot differs from its index. */
  failure: v.optional(v.object({ reason: v.string(), isBroken: v.boolean() })),
  progress,
});

export type LazyStatus = v.InferOutput<typeof statusSchema>;

export const writeRequest = (paths: LazyPaths, request: LazyRequest) => replace(paths.request, request);
export const writeStatus = (paths: LazyPaths, status: LazyStatus) => replace(paths.status, status);

/** @throws if there is none */
export async function readRequest(paths: LazyPaths): Promise<LazyRequest> {
  return v.parse(requestSchema, JSON.parse(await readFile(paths.request, 'utf8')));
}

/** Undefined where there was no lazy start, and until the process has started. */
export async function readStatus(paths: LazyPaths): Promise<LazyStatus | undefined> {
  try {
    return v.parse(statusSchema, JSON.parse(await readFile(paths.status, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A reader finds the old text or the new one. */
async function replace(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(value), { mode: 0o600 });
  await rename(`${file}.new`, file);
}
