import { describe, expect, test } from 'vitest';
import { type CallShape, operationOf } from './operation.ts';
import { safeParameters } from './parameters.ts';
import { readSignature } from './signature.ts';

function call(
  shape: Partial<Omit<CallShape, 'body' | 'query'>> & { body?: string; query?: string },
): CallShape {
  return {
    service: 's3',
    method: 'GET',
    path: '/',
    headers: {},
    ...shape,
    body: Buffer.from(shape.body ?? ''),
    query: new URLSearchParams(shape.query),
  };
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };

describe('what a call is called', () => {
  test.each([
    ['JSON', { service: 'ssm', headers: { 'x-amz-target': 'AmazonSSM.PutParameter' } }, 'PutParameter'],
    [
      'RPC v2',
      { service: 'monitoring', path: '/service/GraniteServiceVersion20100801/operation/PutMetricAlarm' },
      'PutMetricAlarm',
    ],
    [
      'query',
      { service: 'autoscaling', method: 'POST', headers: FORM, body: 'Action=SetDesiredCapacity&Version=1' },
      'SetDesiredCapacity',
    ],
    ['query in the URL', { service: 'sts', query: 'Action=GetCallerIdentity' }, 'GetCallerIdentity'],
    ['Lambda', { service: 'lambda', method: 'POST', path: '/2015-03-31/functions' }, 'CreateFunction'],
    ['Scheduler', { service: 'scheduler', method: 'POST', path: '/schedules/a-b' }, 'CreateSchedule'],
    ['a REST call that has no name here', { service: 'lambda', path: '/x' }, 'GET /x'],
  ])('%s', (_, shape, operation) => expect(operationOf(call(shape))).toBe(operation));

  test.each([
    ['GET', '/', '', 'ListBuckets'],
    ['PUT', '/bucket', '', 'CreateBucket'],
    ['PUT', '/bucket', 'versioning', 'PutBucketVersioning'],
    ['PUT', '/bucket', 'notification', 'PutBucketNotificationConfiguration'],
    ['GET', '/bucket', 'list-type=2&prefix=sets', 'ListObjectsV2'],
    ['GET', '/bucket', 'uploads', 'ListMultipartUploads'],
    ['POST', '/bucket', 'delete', 'DeleteObjects'],
    ['GET', '/bucket/a/b', 'x-id=GetObject', 'GetObject'],
    ['HEAD', '/bucket/a/b', '', 'HeadObject'],
    ['PUT', '/bucket/a/b', '', 'PutObject'],
    ['DELETE', '/bucket/a/b', '', 'DeleteObject'],
    ['POST', '/bucket/a/b', 'uploads', 'CreateMultipartUpload'],
    ['PUT', '/bucket/a/b', 'partNumber=1&uploadId=x', 'UploadPart'],
    ['POST', '/bucket/a/b', 'uploadId=x', 'CompleteMultipartUpload'],
    ['DELETE', '/bucket/a/b', 'uploadId=x', 'AbortMultipartUpload'],
    ['GET', '/bucket/a/b', 'uploadId=x', 'ListParts'],
  ])('S3: %s %s?%s is %s', (method, path, query, operation) => {
    expect(operationOf(call({ method, path, query }))).toBe(operation);
  });

  test('S3: a copy is identified by its source', () => {
    const headers = { 'x-amz-copy-source': '/bucket/from' };
    expect(operationOf(call({ method: 'PUT', path: '/bucket/to', headers }))).toBe('CopyObject');
  });
});

describe('who signed', () => {
  const scope = 'LKIA1/20240514/us-west-2/sqs/aws4_request';

  test('by header', () => {
    const header = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=abc`;
    expect(readSignature(header, new URLSearchParams())).toEqual({
      accessKeyId: 'LKIA1',
      region: 'us-west-2',
      service: 'sqs',
    });
  });

  test('by query, when presigned', () => {
    expect(readSignature(undefined, new URLSearchParams({ 'X-Amz-Credential': scope }))?.service).toBe('sqs');
  });

  test.each([undefined, 'Bearer x', 'AWS4-HMAC-SHA256 Credential=a/b/c'])('not: %s', (header) => {
    expect(readSignature(header, new URLSearchParams())).toBeUndefined();
  });
});

describe('what is recorded of a call', () => {
  test('names, never values', () => {
    const headers = { 'content-type': 'application/x-amz-json-1.1' };
    const body = JSON.stringify({ Name: '/aw/x', Value: 'hidden', Overwrite: true });
    expect(safeParameters(call({ service: 'ssm', headers, body }))).toEqual({ Name: '/aw/x' });
  });

  test('the name of a queue, not its message', () => {
    const headers = { 'content-type': 'application/x-amz-json-1.0' };
    const body = JSON.stringify({ QueueUrl: 'http://127.0.0.1:1/1/aw-reports', MessageBody: 'hidden' });
    expect(safeParameters(call({ service: 'sqs', headers, body }))).toEqual({ Queue: 'aw-reports' });
  });

  test('bucket, key and condition of an S3 call', () => {
    const shape = { method: 'PUT', path: '/bucket/sets/a%20b/pointer.json', headers: { 'if-match': '"1"' } };
    expect(safeParameters(call(shape))).toEqual({
      Bucket: 'bucket',
      Key: 'sets/a b/pointer.json',
      'if-match': '"1"',
    });
  });

  test('nothing of a body that is no JSON', () => {
    const headers = { 'content-type': 'application/x-amz-json-1.1' };
    expect(safeParameters(call({ service: 'ssm', headers, body: '{' }))).toEqual({});
  });
});
