import { GetObjectCommand, NoSuchKey, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import * as v from 'valibot';
import { CACHE_SCOPE, epochKey, epochSchema } from '../../shared/fleet/build-cache.ts';

/**
 * Raises the epoch of a scope. Instances read it once per minute, and use nothing that was stored before. The objects stay until they
 * expire, so what was stored can be examined.
 *
 * @returns the new epoch
 * @throws if the scope has no such name, or somebody else raised it at the same time
 */
export async function revokeScope(
  s3: Pick<S3Client, 'send'>,
  bucket: string,
  scope: string,
  reason: string,
  now: Date,
): Promise<number> {
  if (!CACHE_SCOPE.test(scope)) throw new Error(`${scope} is no name of a scope`);
  const Key = epochKey(scope);
  const before = await s3.send(new GetObjectCommand({ Bucket: bucket, Key })).catch((error: unknown) => {
    if (error instanceof NoSuchKey) return undefined;
    throw error;
  });
  const text = await before?.Body?.transformToString();
  const epoch = text === undefined ? 0 : v.parse(v.pipe(v.string(), v.parseJson(), epochSchema), text).epoch;
  const next = { version: 1, epoch: epoch + 1, reason, at: now.toISOString() };
  await s3.send(
    new PutObjectCommand({
      Bucket: bucket,
      Key,
      Body: JSON.stringify(next),
      ContentType: 'application/json',
      ...(before?.ETag === undefined ? { IfNoneMatch: '*' } : { IfMatch: before.ETag }),
    }),
  );
  return next.epoch;
}
