import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { type Breaker, breaker } from './breaker.ts';
import { TryLater } from './uploads.ts';

/** Longest wait for the first byte of an answer, and for the next bytes of a body; in milliseconds. */
export type Deadlines = { firstByteMs: number; nextByteMs: number };

const DEADLINES: Deadlines = { firstByteMs: 2_000, nextByteMs: 5_000 };

/** Longest time of the read of a text, for which no build waits; in milliseconds. */
const TEXT_MS = 10_000;

/** Longest time of one upload: for the first byte of the answer, and for its bytes at 1 MB/s; in milliseconds. */
const UPLOAD_MS = 20_000;
const UPLOAD_BYTES_PER_MS = 1_000;

/** An object that exists. Its body must be read to the end, or given up by `abort`. */
export type StoredObject = {
  body: AsyncIterable<Buffer>;
  /** Of the stored bytes. */
  bytes: number;
  /** Milliseconds since 1970. */
  storedAt: number;
  abort(): void;
};

/** Content of an upload: bytes, or a file with its size and its SHA-256 in base64. */
export type UploadBody = Buffer | { file: string; bytes: number; checksum: string };

/**
 * The shared store. A read never throws: without an answer in time the object is missing, and the failure is counted. So a build
 * continues without the store.
 */
export interface CacheStore {
  get(key: string): Promise<StoredObject | undefined>;
  /** When the object was stored, in milliseconds since 1970; undefined if it is missing. */
  storedAt(key: string): Promise<number | undefined>;
  /**
   * @param isNew an object that exists stays as it is
   * @throws if it is not stored; {TryLater} if it can be stored later
   */
  put(
    key: string,
    body: UploadBody,
    options: { isNew: boolean; signal: AbortSignal },
  ): Promise<'stored' | 'exists'>;
  /** A small text; null if it is missing. Not subject to the time off. @throws without an answer in time */
  text(key: string): Promise<string | null>;
  /** Reads that failed, and uploads that failed, since the start. */
  failures(): number;
}

/**
 * @param client makes one try per request: a build must not wait for more
 * @param options replace the clock and the deadlines
 */
export function s3Store(
  client: S3Client,
  bucket: string,
  log: (line: string) => void,
  options: { now?: () => number; deadlines?: Deadlines } = {},
): CacheStore {
  // Not the time of day, which can jump.
  const { now = () => performance.now(), deadlines = DEADLINES } = options;
  // A role that may only read must not lose its reads, and an upload that hangs must not cost them.
  const reads = breaker('S3 (reads)', log, now);
  const writes = breaker('S3 (uploads)', log, now);
  let failures = 0;
  let lastFailure = '';

  function failed(which: Breaker, what: string, error: unknown): void {
    failures += 1;
    which.failed();
    const text = `${what}: ${errorText(error)}`;
    if (text !== lastFailure) log(`S3: ${text}`);
    lastFailure = text;
  }

  /** Sends a request that must answer in time. @returns undefined if the object is missing, or there is no answer */
  async function read<T>(what: string, send: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    if (!reads.allows()) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new Error('no answer')), deadlines.firstByteMs);
    try {
      return await send(abort.signal);
    } catch (error) {
      if (isMissing(error)) reads.succeeded();
      else failed(reads, what, abort.signal.aborted ? `no answer in ${deadlines.firstByteMs} ms` : error);
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async get(key) {
      const found = await read('GET', (abortSignal) =>
        client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal }),
      );
      if (!found?.Body) return undefined;
      const { Body, ContentLength, LastModified } = found;
      const body = Body as Readable;
      return {
        // A store whose bodies stop half-way answers, and is as slow as one that does not.
        body: inTime(body, deadlines.nextByteMs, (error) => {
          if (error === undefined) reads.succeeded();
          else failed(reads, 'the body of a GET', error);
        }),
        bytes: ContentLength ?? 0,
        storedAt: LastModified?.getTime() ?? 0,
        abort: () => void body.destroy(),
      };
    },

    async storedAt(key) {
      const found = await read('HEAD', (abortSignal) =>
        client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal }),
      );
      if (found) reads.succeeded();
      return found?.LastModified?.getTime();
    },

    async put(key, body, { isNew, signal }) {
      if (!writes.allows()) throw new TryLater('uploads are switched off', { waitMs: writes.waitMs() });
      const isFile = !Buffer.isBuffer(body);
      const bytes = isFile ? body.bytes : body.length;
      const limit = AbortSignal.timeout(Math.ceil(UPLOAD_MS + bytes / UPLOAD_BYTES_PER_MS));
      const content = isFile ? createReadStream(body.file) : body;
      try {
        await client.send(
          new PutObjectCommand({
            Bucket: bucket,
            Key: key,
            Body: content,
            ContentLength: bytes,
            ContentType: 'application/octet-stream',
            ...(isFile && { ChecksumSHA256: body.checksum }),
            ...(!isFile && { ChecksumAlgorithm: 'SHA256' }),
            ...(isNew && { IfNoneMatch: '*' }),
          }),
          { abortSignal: AbortSignal.any([limit, signal]) },
        );
        writes.succeeded();
        return 'stored';
      } catch (error) {
        if (statusOf(error) === 412) {
          writes.succeeded();
          return 'exists';
        }
        // An upload that was given up is no failure of S3. Two uploads of one object (409): the other one stores it.
        if (signal.aborted || statusOf(error) === 409) throw error;
        failed(writes, 'PUT', error);
        throw isTransient(error) ? new TryLater(errorText(error), { cause: error }) : error;
      } finally {
        if (!Buffer.isBuffer(content)) content.destroy();
      }
    },

    async text(key) {
      try {
        const abortSignal = AbortSignal.timeout(TEXT_MS);
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), {
          abortSignal,
        });
        return (await Body?.transformToString()) ?? '';
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    },

    failures: () => failures,
  };
}

/**
 * A body whose next bytes must come in time. The time in which the reader does not read does not count.
 *
 * @param ended gets the error, or nothing when the body is complete
 */
async function* inTime(
  body: Readable,
  limitMs: number,
  ended: (error?: unknown) => void,
): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]();
  /** S3 closes a connection that is not read. That is no failure of S3. */
  let isReaderSlow = false;
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no bytes for ${limitMs} ms`)), limitMs);
      });
      const { done, value } = await Promise.race([pieces.next(), late]).finally(() => clearTimeout(timer));
      if (done) return ended();
      const began = performance.now();
      yield value as Buffer;
      isReaderSlow ||= performance.now() - began > limitMs;
    }
  } catch (error) {
    if (!isReaderSlow) ended(error);
    throw error;
  } finally {
    body.destroy();
  }
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode;
}

/** S3 throttles or fails, or the connection does. */
function isTransient(error: unknown): boolean {
  const status = statusOf(error);
  return status === undefined || status === 429 || status >= 500;
}

function isMissing(error: unknown): boolean {
  return statusOf(error) === 404;
}
