import { open } from 'node:fs/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { layerKey } from '../../../../shared/snapshot/layout.ts';
import type { Packed } from './pack.ts';
import type { Progress } from './progress.ts';

/** Parts are held in memory while they travel: four of 16 MiB are 64 MiB. */
const PARALLEL_PARTS = 4;

/** S3 takes at most this many parts of one upload. */
const MAX_PARTS = 10_000;

/**
 * A layer that is there already is not sent again, if it is younger than this, in milliseconds. An older one that no
 * manifest names may be pruned at any moment, and sending it again makes it young.
 */
const FRESH_MS = 12 * 3_600_000;

type Target = { s3: S3Client; bucket: string; key: string };

/**
 * Sends a layer, its chunks as the parts of one upload. Their checksums are known already and go with them, so that nothing is
 * hashed again here, S3 refuses what changed on the way, and the checksum that S3 keeps can be told from a manifest
 * (`shared/snapshot/verify.ts`).
 *
 * @returns bytes that were sent: 0 if the layer was there
 * @throws what S3 and the file system throw; nothing of the upload is left then, or S3's own cleaning takes it away
 */
export async function uploadLayer(
  s3: S3Client,
  bucket: string,
  set: string,
  packed: Packed,
  progress: Progress,
  signal?: AbortSignal,
): Promise<number> {
  const target: Target = { s3, bucket, key: layerKey(set, packed.sha256) };
  if (await isFresh(target, packed.bytes)) return 0;
  if (packed.chunks.length > MAX_PARTS) {
    throw new Error(`a layer of ${packed.bytes} bytes has more than the ${MAX_PARTS} parts that S3 takes`);
  }
  progress.begin('upload', packed.bytes);
  const { UploadId } = await s3.send(
    new CreateMultipartUploadCommand({
      Bucket: bucket,
      Key: target.key,
      ContentType: 'application/vnd.squashfs',
      ChecksumAlgorithm: 'SHA256',
    }),
  );
  try {
    const parts = await sendParts(target, UploadId, packed, progress, signal);
    await s3.send(
      new CompleteMultipartUploadCommand({
        Bucket: bucket,
        Key: target.key,
        UploadId,
        MultipartUpload: { Parts: parts },
      }),
    );
  } catch (error) {
    const abort = new AbortMultipartUploadCommand({ Bucket: bucket, Key: target.key, UploadId });
    await s3.send(abort).catch((late: unknown) => progress.end(`not aborted: ${errorText(late)}`));
    throw error;
  }
  progress.end();
  return packed.bytes;
}

async function sendParts(
  { s3, bucket, key }: Target,
  UploadId: string | undefined,
  { file, bytes, chunkBytes, chunks }: Packed,
  progress: Progress,
  signal: AbortSignal | undefined,
) {
  const handle = await open(file, 'r');
  const parts: { PartNumber: number; ETag: string | undefined; ChecksumSHA256: string }[] = [];
  const queue = chunks.entries();
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const worker = async () => {
    for (const [index, sha256] of queue) {
      both.throwIfAborted();
      const length = Math.min(chunkBytes, bytes - index * chunkBytes);
      const Body = Buffer.allocUnsafe(length);
      const { bytesRead } = await handle.read(Body, 0, length, index * chunkBytes);
      if (bytesRead !== length) throw new Error(`${file} became shorter while it was sent`);
      const PartNumber = index + 1;
      const ChecksumSHA256 = Buffer.from(sha256, 'hex').toString('base64');
      const part = new UploadPartCommand({
        Bucket: bucket,
        Key: key,
        UploadId,
        PartNumber,
        Body,
        ChecksumSHA256,
      });
      signWith(part, sha256);
      const { ETag } = await s3.send(part, { abortSignal: both });
      parts.push({ PartNumber, ETag, ChecksumSHA256 });
      progress.advance(length);
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL_PARTS }, worker));
  } catch (error) {
    stop.abort(error);
    throw error;
  } finally {
    await handle.close();
  }
  return parts.sort((a, b) => a.PartNumber - b.PartNumber);
}

/** The request's signature is over the sha256 of its body, which the SDK takes from here instead of taking it again. */
function signWith(part: UploadPartCommand, sha256: string): void {
  part.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers: Record<string, string> };
      request.headers['x-amz-content-sha256'] = sha256;
      return next(args);
    },
    { step: 'build', name: 'knownBodyHash' },
  );
}

async function isFresh({ s3, bucket, key }: Target, bytes: number): Promise<boolean> {
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
