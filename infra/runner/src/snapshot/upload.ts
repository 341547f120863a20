import { createHash, hash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { isAwsError } from '../../../../shared/runtime/aws-errors.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { compositeChecksum } from '../../../../shared/snapshot/manifest.ts';
import { type Patience, patiently } from './patience.ts';

const MIB = 1024 * 1024;

/** Each part is in memory while it is sent: three of 17 MiB. S3 gives a connection some 90 MB/s (S3 performance guidelines). */
const PARALLEL_PARTS = 3;

/**
 * Least stored bytes of a part. S3 takes parts of 5 MiB to 5 GiB, and 10,000 of them (S3 quotas); the size of an upload is not
 * known when it starts, so its second half has larger parts: 400 GB in total.
 */
export function leastPartBytes(part: number): number {
  return part < 5_000 ? 16 * MIB : 64 * MIB;
}

export type Target = { s3: Pick<S3Client, 'send'>; bucket: string; key: string };

/** S3 has dropped the upload because another write of the same key was under way: everything is to be sent again. */
export class UploadConflict extends Error {
  override readonly name = 'UploadConflict';
}

/** An object of frames as it is stored. */
export type StoredFrames = { bytes: number; parts: number; sha256: string };

/** A multipart upload that is sent while its content is made. */
export type FramesUpload = {
  /** Adds a frame. @returns its offset; waits while enough is in flight */
  add(frame: Buffer): Promise<number>;
  /** Completes the upload. @returns undefined if nothing was added */
  finish(): Promise<StoredFrames | undefined>;
  /** Removes what was sent. Its own failure is returned: the bucket's lifecycle rule removes the parts then. */
  abort(): Promise<string | undefined>;
};

type SentPart = { PartNumber: number; ETag: string | undefined; ChecksumSHA256: string };

/**
 * Sends frames as the parts of one object. A part has whole frames and its sha256, which S3 verifies; the sha256 of all parts is
 * the checksum by which a verification recognises the object. The object never replaces another one.
 */
export function framesUpload(
  target: Target,
  patience: Patience,
  onSent: (bytes: number) => void,
): FramesUpload {
  const { s3, bucket, key } = target;
  const stop = new AbortController();
  const signal = patience.signal ? AbortSignal.any([patience.signal, stop.signal]) : stop.signal;
  const bounded = { until: patience.until, signal };
  const parts: SentPart[] = [];
  const inFlight = new Set<Promise<void>>();
  let uploadId: Promise<string | undefined> | undefined;
  /** Memory of parts that are sent. */
  const free: Buffer[] = [];
  let pending: Buffer | undefined;
  let pendingBytes = 0;
  let [offset, nextPart] = [0, 1];

  const begin = () =>
    patiently(bounded, async () => {
      const created = await s3.send(
        new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ChecksumAlgorithm: 'SHA256' }),
        { abortSignal: signal },
      );
      return created.UploadId;
    });

  async function send(PartNumber: number, Body: Buffer): Promise<void> {
    const sha256 = hash('sha256', Body, 'buffer');
    const ChecksumSHA256 = sha256.toString('base64');
    const UploadId = await uploadId;
    const { ETag } = await patiently(bounded, () => {
      const part = new UploadPartCommand({
        Bucket: bucket,
        Key: key,
        UploadId,
        PartNumber,
        Body,
        ChecksumSHA256,
      });
      signWith(part, sha256.toString('hex'));
      return s3.send(part, { abortSignal: signal });
    });
    parts.push({ PartNumber, ETag, ChecksumSHA256 });
    onSent(Body.length);
  }

  async function sendPending(): Promise<void> {
    uploadId ??= begin();
    const part = nextPart;
    nextPart += 1;
    const memory = pending ?? Buffer.alloc(0);
    const body = memory.subarray(0, pendingBytes);
    [pending, pendingBytes] = [undefined, 0];
    while (inFlight.size >= PARALLEL_PARTS) await Promise.race(inFlight);
    const sending = send(part, body)
      .then(() => void free.push(memory))
      .finally(() => inFlight.delete(sending));
    // The rejection reaches whoever waits next; one that nobody waits for must not end the program.
    sending.catch((error: unknown) => stop.abort(error));
    inFlight.add(sending);
  }

  /** Of a part that is sent, or new. */
  function partMemory(bytes: number): Buffer {
    const found = free.findIndex(({ length }) => length >= bytes);
    return free.splice(found, found < 0 ? 0 : 1)[0] ?? Buffer.allocUnsafeSlow(bytes + MIB);
  }

  return {
    async add(frame) {
      signal.throwIfAborted();
      const at = offset;
      pending ??= partMemory(leastPartBytes(nextPart) + frame.length);
      if (pending.length < pendingBytes + frame.length)
        pending = Buffer.concat([pending.subarray(0, pendingBytes)], pendingBytes + frame.length);
      pendingBytes += frame.copy(pending, pendingBytes);
      offset += frame.length;
      if (pendingBytes >= leastPartBytes(nextPart)) await sendPending();
      return at;
    },
    async finish() {
      if (offset === 0) return undefined;
      if (pendingBytes > 0) await sendPending();
      await Promise.all(inFlight);
      signal.throwIfAborted();
      parts.sort((a, b) => a.PartNumber - b.PartNumber);
      const all = createHash('sha256');
      for (const part of parts) all.update(Buffer.from(part.ChecksumSHA256, 'base64'));
      const stored = { bytes: offset, parts: parts.length, sha256: all.digest('hex') };
      await complete(target, await uploadId, parts, stored, bounded);
      return stored;
    },
    async abort() {
      stop.abort(new Error('the upload is aborted'));
      await Promise.allSettled(inFlight);
      const UploadId = await uploadId?.catch(() => undefined);
      if (UploadId === undefined) return undefined;
      try {
        await s3.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId }));
        return undefined;
      } catch (error) {
        return isAwsError(error, 'NoSuchUpload') ? undefined : errorText(error);
      }
    },
  };
}

/**
 * The SDK repeats a request whose answer was lost. The upload does not exist any more then, or the object exists already: it is
 * ours if size and checksum are.
 */
async function complete(
  target: Target,
  UploadId: string | undefined,
  Parts: SentPart[],
  stored: StoredFrames,
  patience: Patience,
): Promise<void> {
  const { s3, bucket, key } = target;
  const abortable = patience.signal ? { abortSignal: patience.signal } : {};
  const request = { Bucket: bucket, Key: key, UploadId, MultipartUpload: { Parts }, IfNoneMatch: '*' };
  try {
    await patiently(patience, () => s3.send(new CompleteMultipartUploadCommand(request), abortable));
  } catch (error) {
    if (isAwsError(error, 'ConditionalRequestConflict')) {
      throw new UploadConflict(`${key}: ${errorText(error)}`, { cause: error });
    }
    if (!isAwsError(error, 'NoSuchUpload') && !isAwsError(error, 'PreconditionFailed')) throw error;
    if (!(await isStored(target, stored.bytes, compositeChecksum(stored), patience))) throw error;
  }
}

/** Writes one small object that replaces no other one. @throws if another object has its key */
export async function putOnce(target: Target, body: Buffer, patience: Patience): Promise<void> {
  const ChecksumSHA256 = hash('sha256', body, 'base64');
  const put = () =>
    target.s3.send(
      new PutObjectCommand({
        Bucket: target.bucket,
        Key: target.key,
        Body: body,
        ChecksumSHA256,
        IfNoneMatch: '*',
      }),
      patience.signal ? { abortSignal: patience.signal } : {},
    );
  try {
    await patiently(patience, async () => {
      await put().catch(async (error: unknown) => {
        // Another conditional write of the key is under way: only a retry of this one can be.
        if (!isAwsError(error, 'ConditionalRequestConflict')) throw error;
        await put();
      });
    });
  } catch (error) {
    if (!isAwsError(error, 'PreconditionFailed')) throw error;
    if (!(await isStored(target, body.length, ChecksumSHA256, patience))) throw error;
  }
}

async function isStored(
  { s3, bucket, key }: Target,
  bytes: number,
  checksum: string,
  patience: Patience,
): Promise<boolean> {
  const head = new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' });
  try {
    const found = await patiently(patience, () => s3.send(head));
    return found.ContentLength === bytes && found.ChecksumSHA256 === checksum;
  } catch (error) {
    if (error instanceof Error && /^(NotFound|NoSuchKey)$/.test(error.name)) return false;
    throw error;
  }
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
