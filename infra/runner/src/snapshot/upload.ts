import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { isAwsError } from '../../../../shared/runtime/aws-errors.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { layerKey } from '../../../../shared/snapshot/layout.ts';
import type { Packed } from './pack.ts';
import type { Progress } from './progress.ts';

/** Each part is in memory while it is sent: four of 16 MiB are 64 MiB. */
const PARALLEL_PARTS = 4;

/**
 * Age of a layer up to which it is not sent again, in milliseconds. An older layer that no manifest names may be pruned at any
 * moment; sending it again renews it.
 */
const FRESH_MS = 12 * 3_600_000;

type Target = { s3: S3Client; bucket: string; key: string };

/**
 * Sends a layer, its chunks as the parts of one upload. Their checksums are known already and go with them: nothing is hashed
 * again here, S3 refuses bytes that changed on the way, and the checksum that S3 stores follows from the manifest
 * (`shared/snapshot/format-1/verify.ts`).
 *
 * @returns bytes that were sent: 0 if S3 has the layer
 * @throws errors of S3 and of the file system. The upload is aborted then; if that fails, the bucket's lifecycle rule removes it
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
  const abortable = signal ? { abortSignal: signal } : {};
  if (await isFresh(target, packed.bytes, signal)) return 0;
  progress.begin('upload', packed.bytes);
  const { UploadId } = await s3.send(
    new CreateMultipartUploadCommand({
      Bucket: bucket,
      Key: target.key,
      ContentType: 'application/vnd.squashfs',
      ChecksumAlgorithm: 'SHA256',
    }),
    abortable,
  );
  try {
    const parts = await sendParts(target, UploadId, packed, progress, signal);
    await complete(target, UploadId, parts, packed, signal);
  } catch (error) {
    const abort = new AbortMultipartUploadCommand({ Bucket: bucket, Key: target.key, UploadId });
    await s3.send(abort).catch((late: unknown) => progress.end(`not aborted: ${errorText(late)}`));
    throw error;
  }
  progress.end();
  return packed.bytes;
}

/** One part as S3 acknowledged it. */
type SentPart = { PartNumber: number; ETag: string | undefined; ChecksumSHA256: string };

/** The SDK repeats a request whose answer was lost. The upload does not exist any more then, and the object does. */
async function complete(
  { s3, bucket, key }: Target,
  UploadId: string | undefined,
  parts: SentPart[],
  packed: Packed,
  signal: AbortSignal | undefined,
): Promise<void> {
  const abortable = signal ? { abortSignal: signal } : {};
  const request = { Bucket: bucket, Key: key, UploadId, MultipartUpload: { Parts: parts } };
  try {
    await s3.send(new CompleteMultipartUploadCommand(request), abortable);
  } catch (error) {
    if (!isAwsError(error, 'NoSuchUpload')) throw error;
    const head = new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' });
    const found = await s3.send(head, abortable).catch(() => undefined);
    const same = found?.ContentLength === packed.bytes && found.ChecksumSHA256 === compositeChecksum(packed);
    if (!same) throw error;
  }
}

/** The checksum that S3 computes of a multipart object: SHA-256 of the parts' SHA-256, and the number of parts. */
function compositeChecksum({ chunks }: Packed): string {
  const all = createHash('sha256');
  for (const chunk of chunks) all.update(Buffer.from(chunk, 'hex'));
  return `${all.digest('base64')}-${chunks.length}`;
}

async function sendParts(
  { s3, bucket, key }: Target,
  UploadId: string | undefined,
  { file, bytes, chunkBytes, chunks }: Packed,
  progress: Progress,
  signal: AbortSignal | undefined,
) {
  const handle = await open(file, 'r');
  const parts: SentPart[] = [];
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

/** The request's signature covers the sha256 of its body. The SDK uses this header instead of computing it again. */
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

async function isFresh(
  { s3, bucket, key }: Target,
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    const found = await s3.send(
      new HeadObjectCommand({ Bucket: bucket, Key: key }),
      signal ? { abortSignal: signal } : {},
    );
    const age = Date.now() - (found.LastModified?.getTime() ?? 0);
    return found.ContentLength === bytes && age < FRESH_MS;
  } catch (error) {
    // Without permission to list, S3 answers 403 for an object that does not exist.
    if (error instanceof Error && /^(NotFound|NoSuchKey|Forbidden|AccessDenied|403)$/.test(error.name))
      return false;
    throw error;
  }
}
