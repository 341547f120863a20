import { createReadStream } from 'node:fs';
import { HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { layerKey } from '../../../shared/snapshot/layout.ts';
import type { Packed } from './pack.ts';
import type { Progress } from './progress.ts';

/** S3 takes at most this many parts of one upload. */
const MAX_PARTS = 10_000;

/** Read at once; the usual 64 KiB would be put together to a part in hundreds of pieces. */
const READ_BYTES = 2 * 1024 * 1024;

/** Parts are held in memory while they travel: four of 16 MiB are 64 MiB. */
const PARALLEL_PARTS = 4;

/**
 * A layer that is there already is not sent again, if it is younger than this, in milliseconds. An older one that no
 * manifest names may be pruned at any moment, and sending it again makes it young.
 */
const FRESH_MS = 12 * 3_600_000;

/** @returns bytes that were sent: 0 if the layer was there */
export async function uploadLayer(
  s3: S3Client,
  bucket: string,
  set: string,
  packed: Packed,
  progress: Progress,
  signal?: AbortSignal,
): Promise<number> {
  const key = layerKey(set, packed.sha256);
  if (await isFresh(s3, bucket, key, packed.bytes)) return 0;
  progress.begin('upload', packed.bytes);
  const upload = new Upload({
    client: s3,
    params: {
      Bucket: bucket,
      Key: key,
      Body: createReadStream(packed.file, { highWaterMark: READ_BYTES }),
      ContentType: 'application/vnd.squashfs',
      // Parts are chunks, so that S3's own checksum can be told from a manifest: `shared/snapshot/verify.ts` relies on it.
      ChecksumAlgorithm: 'SHA256',
    },
    partSize: Math.max(packed.chunkBytes, Math.ceil(packed.bytes / MAX_PARTS)),
    queueSize: PARALLEL_PARTS,
  });
  let sent = 0;
  upload.on('httpUploadProgress', ({ loaded = 0 }) => {
    progress.advance(loaded - sent);
    sent = loaded;
  });
  const abort = () => void upload.abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await upload.done();
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  progress.end();
  return packed.bytes;
}

async function isFresh(s3: S3Client, bucket: string, key: string, bytes: number): Promise<boolean> {
  try {
    const found = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
    const age = Date.now() - (found.LastModified?.getTime() ?? 0);
    return found.ContentLength === bytes && age < FRESH_MS;
  } catch (error) {
    // Without permission to list, S3 says 403 for what is not there.
    if (error instanceof Error && /^(NotFound|NoSuchKey|Forbidden|AccessDenied|403)$/.test(error.name))
      return false;
    throw error;
  }
}
