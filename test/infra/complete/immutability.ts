import { hash } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { framesUpload, putOnce } from '../../../infra/runner/src/snapshot/upload.ts';
import { framesKey, indexKey, manifestKey, pointerKey, runKey } from '../../../shared/snapshot/layout.ts';
import { s3Store } from '../../../shared/snapshot/store.ts';
import { localS3 } from '../../support/s3-client.ts';
import { type S3Server, startS3Server } from '../../support/s3-server.ts';
import { s3Judge } from '../s3-policy.ts';
import { only, type Statement, statements } from '../state.ts';
import { type Applied, bucket } from './applied.ts';

const SET = 'ios';
const OLD = '20261123T030000Z-00000001';
const NEW = '20261124T030000Z-00000002';
const OWN = [manifestKey(SET, OLD), indexKey(SET, OLD), framesKey(SET, OLD)];

/** The bucket in a small S3 that asks the policies of the applied example about each request. */
export function aboutImmutability(made: Applied): void {
  const { of } = made;

  describe('what a snapshot consists of', () => {
    let server: S3Server;
    let s3: S3Client;
    beforeEach(async () => {
      server = await startS3Server();
      s3 = localS3(server.url, { maxAttempts: 1 });
      for (const key of OWN) server.put(key, `promoted ${key}`);
      act(warmingRole());
    });
    afterEach(async () => {
      s3.destroy();
      await server.close();
    });

    /** Requests are those of a principal with these statements. */
    function act(own: readonly Statement[]): void {
      const policy = statements(only(of('aws_s3_bucket_policy')).values.policy);
      server.allows = s3Judge(bucket, own, policy);
    }
    function warmingRole(): Statement[] {
      const role = of('aws_iam_role_policy').filter(({ address }) =>
        address.includes('runner_group["bk/warm-ios"]'),
      );
      const manage = of('aws_iam_policy').filter(
        ({ values }) => values.name === `aw-warming-manage-${SET}-usw2`,
      );
      return [...role, ...manage].flatMap(({ values }) => statements(values.policy));
    }
    function functionRole(): Statement[] {
      const role = of('aws_iam_role_policy').filter(({ address }) =>
        address.includes('module.function["warming"].aws_iam_role_policy.own'),
      );
      return statements(only(role).values.policy);
    }
    const everything: Statement[] = [{ Sid: 'All', Effect: 'Allow', Action: ['s3:*'], Resource: ['*'] }];

    const isDenied = { name: expect.stringMatching(/^(AccessDenied|PreconditionFailed)$/) };
    const unchanged = () => {
      for (const key of OWN) expect(server.objects.get(key)?.body.toString(), key).toBe(`promoted ${key}`);
    };

    test('is created by the program of a warming run', async () => {
      const patience = { until: performance.now() + 300_000 };
      const upload = framesUpload({ s3, bucket, key: framesKey(SET, NEW) }, patience, () => {});
      await upload.add(Buffer.alloc(20 * 2 ** 20, 1));
      await upload.add(Buffer.alloc(1000, 2));
      expect(await upload.finish()).toMatchObject({ parts: 2 });
      await putOnce({ s3, bucket, key: indexKey(SET, NEW) }, Buffer.from('index'), patience);
      const written = await s3Store(s3, bucket).write(manifestKey(SET, NEW), {}, { ifNoneMatch: true });
      expect(written).toBeDefined();
      unchanged();
    });

    const ETAG = '"00000000000000000000000000000000"';
    test.each<[string, (Key: string) => Promise<unknown>]>([
      [
        'a delete of several',
        (Key) => s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: [{ Key }] } })),
      ],
      ['a plain write', (Key) => s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil' }))],
      [
        'a write of a new version',
        (Key) => s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil', IfMatch: ETAG })),
      ],
      [
        'a write that claims a new object',
        (Key) => s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil', IfNoneMatch: '*' })),
      ],
      [
        'a copy of an own object',
        (Key) =>
          s3.send(
            new CopyObjectCommand({ Bucket: bucket, Key, CopySource: `${bucket}/${framesKey(SET, NEW)}` }),
          ),
      ],
      ['a multipart upload', (Key) => multipart(Key, {})],
      ['a multipart upload that claims a new object', (Key) => multipart(Key, { IfNoneMatch: '*' })],
      ['a delete', (Key) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key }))],
      [
        'a delete of a version',
        (Key) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId: 'v' })),
      ],
    ])('is not changed by %s of the role of its warming group', async (_, attack) => {
      server.put(framesKey(SET, NEW), 'evil');
      for (const key of OWN) await expect(attack(key), key).rejects.toMatchObject(isDenied);
      unchanged();
    });

    async function multipart(Key: string, condition: object): Promise<void> {
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
      const part = { Bucket: bucket, Key, UploadId, PartNumber: 1 };
      const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body: 'evil' }));
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
      await s3.send(
        new CompleteMultipartUploadCommand({ Bucket: bucket, Key, UploadId, MultipartUpload, ...condition }),
      );
    }

    test('is neither of another set, nor the pointer or the record of a run', async () => {
      const others = [
        manifestKey('default', NEW),
        framesKey('default', NEW),
        pointerKey(SET),
        runKey(SET),
        'config/groups.json',
      ];
      for (const Key of others) {
        const put = new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil', IfNoneMatch: '*' });
        await expect(s3.send(put), Key).rejects.toMatchObject({ name: 'AccessDenied' });
      }
    });

    test.each(['the function warming', 'a principal with all permissions'])(
      'is not replaced by %s',
      async (who) => {
        act(who === 'the function warming' ? functionRole() : everything);
        for (const Key of OWN) {
          await expect(
            s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil' })),
          ).rejects.toMatchObject(isDenied);
          await expect(multipart(Key, {})).rejects.toMatchObject(isDenied);
        }
        unchanged();
        // The function decides which snapshot is current.
        expect(await s3Store(s3, bucket).write(pointerKey(SET), {}, { ifNoneMatch: true })).toBeDefined();
      },
    );

    test('is what the permissions say: without the Deny of the bucket each of these would have replaced it', async () => {
      server.allows = s3Judge(bucket, warmingRole(), []);
      const [Key = ''] = OWN;
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'evil' }));
      expect(hash('sha256', server.objects.get(Key)?.body ?? '')).toBe(hash('sha256', 'evil'));
    });
  });
}
