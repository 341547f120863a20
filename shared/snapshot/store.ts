import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';

/**
 * S3 as both sides of a snapshot use it: small JSON objects that are written only conditionally, and listings. Layers
 * themselves are streamed by the runner.
 */

/** An object's text, and the version that a conditional write names. */
export type Stored = { text: string; etag: string };

/** One entry of a listing. */
export type Listed = { key: string; bytes: number; lastModified: Date };

/** What a write requires of the object that it replaces: that there is none, or that it is still this version. */
export type Precondition = { ifNoneMatch: true } | { ifMatch: string };

/** Where objects lie. Calls throw what the SDK throws, except where a result names an error that is an answer. */
export interface ObjectStore {
  /** The object, or undefined if there is none. */
  read(key: string): Promise<Stored | undefined>;
  /**
   * Writes JSON if the precondition holds.
   *
   * @returns the new version, or undefined if somebody else was first (S3's 412 and 409)
   */
  write(key: string, value: unknown, precondition: Precondition): Promise<string | undefined>;
  /** Deletes the object if it is still this version, or whatever version it is if none is named. */
  remove(key: string, ifMatch?: string): Promise<boolean>;
  list(prefix: string): AsyncIterable<Listed>;
  /** Size of an object, or undefined if there is none. */
  size(key: string): Promise<number | undefined>;
  /** The bytes of an object from `start`, `length` of them. */
  readRange(key: string, start: number, length: number): Promise<Uint8Array>;
  /**
   * The sha256 that the store itself took when the object was uploaded, in S3's words: base64 of the whole, or, for an upload
   * in parts, base64 of the sha256 of the parts' sha256 and `-` and their number. Undefined if it has none.
   */
  checksum?(key: string): Promise<string | undefined>;
}

/** A bucket in S3. */
export function s3Store(client: Pick<S3Client, 'send'>, bucket: string): ObjectStore {
  return {
    async read(key) {
      try {
        const { Body, ETag } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
        return { text: (await Body?.transformToString()) ?? '', etag: ETag ?? '' };
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    async write(key, value, precondition) {
      try {
        const { ETag } = await client.send(
          new PutObjectCommand({
            Bucket: bucket,
            Key: key,
            Body: `${JSON.stringify(value, null, 2)}\n`,
            ContentType: 'application/json',
            ...('ifMatch' in precondition ? { IfMatch: precondition.ifMatch } : { IfNoneMatch: '*' }),
          }),
        );
        return ETag ?? '';
      } catch (error) {
        // 404: the version to be replaced is gone altogether.
        if (isLost(error) || ('ifMatch' in precondition && isMissing(error))) return undefined;
        throw error;
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
    async size(key) {
      try {
        const { ContentLength } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
        return ContentLength;
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
    async checksum(key) {
      try {
        const head = { Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' } as const;
        return (await client.send(new HeadObjectCommand(head))).ChecksumSHA256;
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
  };
}

/** S3 says 404 in three ways; HeadObject has no body to say more. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && /^(NoSuchKey|NotFound)$/.test(error.name);
}

/** 412: the precondition did not hold. 409: another conditional write was under way, and may have won. */
function isLost(error: unknown): boolean {
  return error instanceof Error && /^(PreconditionFailed|ConditionalRequestConflict)$/.test(error.name);
}
