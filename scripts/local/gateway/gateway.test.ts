import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { AutoScalingClient, DescribeAutoScalingGroupsCommand } from '@aws-sdk/client-auto-scaling';
import { CloudWatchClient, DescribeAlarmsCommand } from '@aws-sdk/client-cloudwatch';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { roleId } from './callers.ts';
import { THROTTLED } from './faults.ts';
import { type Gateway, startGateway } from './gateway.ts';

/** Stands for the emulator: answers every call with its own size, or with so many bytes as the key asks for. */
let emulator: Server;
let gateway: Gateway;
let received: { path: string; bytes: number }[];

beforeEach(async () => {
  received = [];
  emulator = createServer((req, res) => {
    let bytes = 0;
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    req.on('end', () => {
      received.push({ path: req.url ?? '', bytes });
      if (req.method === 'GET') res.end(Buffer.alloc(Number(/\d+/.exec(req.url ?? '')?.[0] ?? 0)));
      else res.writeHead(200, { etag: '"1"' }).end('{"MessageId":"m-1","Parameter":{"Value":"v"}}');
    });
  });
  emulator.listen(0, '127.0.0.1');
  await once(emulator, 'listening');
  gateway = await startGateway(`http://127.0.0.1:${(emulator.address() as AddressInfo).port}`);
});

afterEach(async () => {
  await gateway.close();
  emulator.closeAllConnections();
  emulator.close();
});

function settings(name = 'operator') {
  const credentials = gateway.callers.issue({ name, role: 'runner', session: name });
  return { endpoint: gateway.url, region: 'us-west-2', credentials, maxAttempts: 1 };
}

/** One call in each protocol that AWS speaks. */
const PROTOCOLS = [
  ['JSON', 'ssm', () => new SSMClient(settings()).send(new GetParameterCommand({ Name: '/aw' }))],
  [
    'query',
    'autoscaling',
    () => new AutoScalingClient(settings()).send(new DescribeAutoScalingGroupsCommand({})),
  ],
  ['RPC v2', 'monitoring', () => new CloudWatchClient(settings()).send(new DescribeAlarmsCommand({}))],
  [
    'REST',
    's3',
    () => new S3Client(settings()).send(new PutObjectCommand({ Bucket: 'bucket', Key: 'key', Body: 'x' })),
  ],
] as const;

describe('the gateway', () => {
  test('hands calls on, and records who made them', async () => {
    const ssm = new SSMClient(settings('i-1'));
    expect((await ssm.send(new GetParameterCommand({ Name: '/aw' }))).Parameter?.Value).toBe('v');
    expect(gateway.calls.all).toMatchObject([
      { service: 'ssm', operation: 'GetParameter', region: 'us-west-2', caller: 'i-1', status: 200 },
    ]);
  });

  test('lets large bodies through in both directions', async () => {
    const s3 = new S3Client(settings());
    const size = 20_000_000;
    const Body = Readable.from(Array.from({ length: 20 }, () => Buffer.alloc(size / 20)));
    await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'key', Body, ContentLength: size }));
    expect(received[0]?.bytes).toBeGreaterThanOrEqual(size);
    const answer = await s3.send(new GetObjectCommand({ Bucket: 'bucket', Key: String(size) }));
    expect((await answer.Body?.transformToByteArray())?.length).toBe(size);
  });

  test.each(PROTOCOLS)('throttles in the words of %s (%s)', async (_, service, send) => {
    const error = { status: 400, code: 'Throttling', message: 'Rate exceeded' };
    gateway.faults.add({ service, effect: { kind: 'error', error } });
    await expect(send()).rejects.toMatchObject({ name: 'Throttling', message: 'Rate exceeded' });
    expect(gateway.calls.all).toMatchObject([{ service, status: 400, fault: 'Throttling' }]);
    expect(received).toEqual([]);
  });

  test('refuses a large upload without breaking the connection', async () => {
    gateway.faults.add({ service: 's3', times: 1, effect: { kind: 'error', error: THROTTLED.s3 } });
    const s3 = new S3Client(settings());
    const put = new PutObjectCommand({ Bucket: 'bucket', Key: 'key', Body: Buffer.alloc(5_000_000) });
    await expect(s3.send(put)).rejects.toMatchObject({ name: 'SlowDown' });
    await s3.send(put);
    expect(received).toHaveLength(1);
  });

  test('breaks a connection on request', async () => {
    gateway.faults.add({ service: 'ssm', effect: { kind: 'disconnect' } });
    const ssm = new SSMClient(settings());
    await expect(ssm.send(new GetParameterCommand({ Name: '/aw' }))).rejects.toThrow(
      /socket hang up|ECONNRESET/,
    );
    expect(gateway.calls.all).toMatchObject([{ status: 0, fault: 'disconnect' }]);
  });

  test.each(PROTOCOLS)('answers with an error of %s (%s) when the emulator is gone', async (_, __, send) => {
    emulator.closeAllConnections();
    emulator.close();
    await expect(send()).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });

  test('gives a service that is mounted what it serves, and nothing else', async () => {
    gateway.mount({
      name: 'ssm',
      serves: (operation) => operation === 'GetParameter',
      handle: async ({ body, accessKeyId }) => ({
        status: 200,
        headers: { 'content-type': 'application/x-amz-json-1.1' },
        body: JSON.stringify({ Parameter: { Value: `${body} of ${gateway.callers.of(accessKeyId).name}` } }),
      }),
    });
    const answer = await new SSMClient(settings('i-1')).send(new GetParameterCommand({ Name: '/aw' }));
    expect(answer.Parameter?.Value).toBe('{"Name":"/aw"} of i-1');
    expect(received).toEqual([]);
  });

  test('accepts an unsigned event for PagerDuty with the header of its caller', async () => {
    gateway.mount({
      name: 'pagerduty',
      serves: () => true,
      handle: async () => ({ status: 202, headers: {}, body: '{}' }),
    });
    const { accessKeyId } = gateway.callers.issue({ name: 'alarms', role: 'alarms', session: 'x' });
    const answer = await fetch(`${gateway.url}/v2/enqueue`, {
      method: 'POST',
      headers: { 'x-local-caller': accessKeyId, 'content-type': 'application/json' },
      body: JSON.stringify({ event_action: 'trigger', routing_key: 'hidden' }),
    });
    expect(answer.status).toBe(202);
    expect(gateway.calls.all).toMatchObject([
      {
        service: 'pagerduty',
        operation: 'enqueue',
        caller: 'alarms',
        parameters: { event_action: 'trigger' },
      },
    ]);
  });
});

describe('a function’s wrapper', () => {
  async function post(name: string, body: object) {
    const answer = await fetch(`${gateway.url}/_cloud/${name}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    return answer.json();
  }
  const worker = { function: 'lifecycle', accessKeyId: 'LKIAWORKER' };
  const outcome = (messageId: string) =>
    JSON.stringify({
      message: 'record handled',
      record: { messageId, queue: 'aw-reports', receiveCount: 1, outcome: 'skipped', reason: 'stale' },
    });

  test('learns who sent a message', async () => {
    await fetch(gateway.url, {
      method: 'POST',
      headers: { 'x-amz-target': 'AmazonSQS.SendMessage', authorization: signature('i-1', 'sqs') },
      body: '{}',
    });
    expect(await post('batch-started', { ...worker, messageIds: ['m-1', 'm-2'] })).toEqual({
      senders: { 'm-1': `${roleId('runner')}:i-1`, 'm-2': 'AIDALOCALEVENTS000000' },
    });
  });

  function signature(name: string, service: string): string {
    const { accessKeyId } = gateway.callers.issue({ name, role: 'runner', session: name });
    return `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20240514/us-west-2/${service}/aws4_request, Signature=x`;
  }

  test('returns the outcome of a message and its calls', async () => {
    await post('batch-started', { ...worker, messageIds: ['m-1'] });
    const credentials = { accessKeyId: worker.accessKeyId, secretAccessKey: 'x' };
    await new SSMClient({ ...settings(), credentials }).send(new GetParameterCommand({ Name: '/aw' }));
    await new SSMClient(settings('someone else')).send(new GetParameterCommand({ Name: '/aw' }));
    await post('lines', { ...worker, lines: ['no JSON', outcome('m-1')] });
    const waiting = post('handled', { messageId: 'm-1', seconds: 5 });
    await post('batch-ended', worker);
    expect(await waiting).toMatchObject({
      handled: { outcome: 'skipped', reason: 'stale', calls: [{ caller: 'lifecycle' }] },
    });
    expect(gateway.functions.outcomes.all).toMatchObject([{ messageId: 'm-1', function: 'lifecycle' }]);
  });

  test('returns the error of a function that threw', async () => {
    await post('batch-started', { ...worker, messageIds: ['m-1'] });
    await post('batch-ended', { ...worker, error: 'Error: no environment' });
    expect(await post('handled', { messageId: 'm-1', seconds: 5 })).toMatchObject({
      handled: { outcome: 'retry', reason: 'function-error: Error: no environment', calls: [] },
    });
  });

  test('a message that nobody takes is not waited for for ever', async () => {
    expect(await post('handled', { messageId: 'm-9', seconds: 0.05 })).toEqual({});
  });
});
