import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { isAwsError } from '../runtime/aws-errors.ts';
import { RetryableError } from '../runtime/errors.ts';
import { CorruptRecord } from './errors.ts';

/**
 * S3 for the functions and the runner: small JSON objects that are written only conditionally, and listings. The runner itself
 * streams layers.
 */

/** An object's text, the SHA-256 of its bytes, and the version that a conditional write names. */
export type Stored = { text: string; sha256: string; etag: string };

/** Most bytes of an object that is read whole. A few MB of hostile JSON can take the memory of a function. */
const MAX_RECORD_BYTES = 1024 * 1024;

export type Head = {
  bytes: number;
  /**
   * The SHA-256 that S3 computed at the upload: base64 of the whole, or, for a multipart upload, base64 of the SHA-256 of the
   * parts' SHA-256, `-` and the number of parts. Undefined if the object has none.
   */
  checksum: string | undefined;
};

/** One entry of a listing. */
export type Listed = { key: string; bytes: number; lastModified: Date };

/** What a write requires of the object that it replaces: that there is none, or that it is still this version. */
export type Precondition = { ifNoneMatch: true } | { ifMatch: string };

/** A bucket. Calls throw the errors of the SDK, except where a result stands for an error. */
export interface ObjectStore {
  /**
   * The object, or undefined if there is none.
   *
   * @param maxBytes 1 MiB if absent
   * @throws {CorruptRecord} before its content is read, if the object is larger
   */
  read(key: string, maxBytes?: number): Promise<Stored | undefined>;
  /**
   * Writes JSON if the precondition holds.
   *
   * @returns the new version, or undefined if another writer was first
   * @throws {RetryableError} `object-contended` if S3 answers 409 to each attempt: another conditional write is under way
   */
  write(key: string, value: unknown, precondition: Precondition): Promise<string | undefined>;
  /** Deletes the object if it is still this version, or whatever version it is if none is named. */
  remove(key: string, ifMatch?: string): Promise<boolean>;
  list(prefix: string): AsyncIterable<Listed>;
  /** Size and checksum of an object, or undefined if there is none. */
  head(key: string): Promise<Head | undefined>;
  /** The bytes of an object from `start`, `length` of them. */
  readRange(key: string, start: number, length: number): Promise<Uint8Array>;
}

/** Attempts of a conditional write that S3 answers with 409, and the pause after the first, in milliseconds. */
const MAX_CONFLICTS = 4;
const CONFLICT_PAUSE_MS = 100;

/** A bucket in S3. */
export function s3Store(client: Pick<S3Client, 'send'>, bucket: string): ObjectStore {
  async function read(key: string, maxBytes = MAX_RECORD_BYTES): Promise<Stored | undefined> {
    const stop = new AbortController();
    try {
      const request = new GetObjectCommand({ Bucket: bucket, Key: key });
      const { Body, ETag, ContentLength } = await client.send(request, { abortSignal: stop.signal });
      if (ContentLength === undefined || ContentLength > maxBytes) {
        // The rest of the answer is not read.
        stop.abort();
        throw new CorruptRecord(
          key,
          `has ${ContentLength ?? 'an unknown number of'} bytes, more than ${maxBytes}`,
        );
      }
      return storedOf((await Body?.transformToByteArray()) ?? new Uint8Array(), ETag ?? '');
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  return {
    read,
    async write(key, value, precondition) {
      const body = `${JSON.stringify(value, null, 2)}\n`;
      const condition =
        'ifMatch' in precondition ? { IfMatch: precondition.ifMatch } : { IfNoneMatch: '*' as const };
      for (let attempt = 1; ; attempt += 1) {
        try {
          const { ETag } = await client.send(
            new PutObjectCommand({
              Bucket: bucket,
              Key: key,
              Body: body,
              ContentType: 'application/json',
              ...condition,
            }),
          );
          return ETag ?? '';
        } catch (error) {
          // 404: the version to be replaced is deleted.
          if ('ifMatch' in precondition && isMissing(error)) return undefined;
          if (isAwsError(error, 'PreconditionFailed')) {
            // The SDK retries a PUT whose answer was lost, and its own first attempt then fails the second.
            const stored = await read(key);
            return stored?.text === body ? stored.etag : undefined;
          }
          if (!isAwsError(error, 'ConditionalRequestConflict')) throw error;
          if (attempt === MAX_CONFLICTS) {
            throw new RetryableError('object-contended', `${key}: ${error.message}`, { cause: error });
          }
          await sleep(CONFLICT_PAUSE_MS * attempt);
        }
      }
    },
    async remove(key, ifMatch) {
      try {
        await client.send(
          new DeleteObjectCommand({
            Bucket: bucket,
            Key: key,
            ...(ifMatch !== undefined && { IfMatch: ifMatch }),
          }),
        );
        return true;
      } catch (error) {
        if (isLost(error) || isMissing(error)) return false;
        throw error;
      }
    },
    async *list(prefix) {
      let token: string | undefined;
      do {
        const page = await client.send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: prefix,
            ...(token !== undefined && { ContinuationToken: token }),
          }),
        );
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          if (Key !== undefined && LastModified)
            yield { key: Key, bytes: Size ?? 0, lastModified: LastModified };
        }
        token = page.NextContinuationToken;
      } while (token !== undefined);
    },
    async head(key) {
      try {
        const head = { Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' } as const;
        const { ContentLength, ChecksumSHA256 } = await client.send(new HeadObjectCommand(head));
        return { bytes: ContentLength ?? 0, checksum: ChecksumSHA256 };
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    async readRange(key, start, length) {
      const { Body } = await client.send(
        new GetObjectCommand({ Bucket: bucket, Key: key, Range: `bytes=${start}-${start + length - 1}` }),
      );
      return (await Body?.transformToByteArray()) ?? new Uint8Array();
    },
  };
}

/** An object as its bytes are. */
export function storedOf(bytes: Uint8Array, etag: string): Stored {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { text: new TextDecoder().decode(bytes), sha256, etag };
}

/** S3 has two names for 404: HeadObject answers without a body, so without a code. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && /^(NoSuchKey|NotFound)$/.test(error.name);
}

/** 412: the precondition does not hold. 409: another conditional write is under way. */
function isLost(error: unknown): boolean {
  return error instanceof Error && /^(PreconditionFailed|ConditionalRequestConflict)$/.test(error.name);
}
