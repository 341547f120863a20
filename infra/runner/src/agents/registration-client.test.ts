import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signatureProblem } from '../../../../scripts/local/function-urls/verify-signature.ts';
import { redactText } from '../../../../shared/runtime/redact.ts';
import { registrationClient } from './registration-client.ts';

const CREDENTIALS = { accessKeyId: 'key', secretAccessKey: 'hidden', sessionToken: 'session' };
const REQUEST = { action: 'register', previous: 'none' } as const;

type Call = { headers: IncomingMessage['headers']; body: string; problem: string | undefined };

let server: Server;
let calls: Call[];
let answer: { status: number; body: string; headers?: Record<string, string> };
/** Difference of the clock of AWS, in milliseconds. */
let awsAhead: number;
beforeEach(async () => {
  calls = [];
  awsAhead = 0;
  answer = { status: 200, body: '{}' };
  server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const url = new URL(request.url ?? '', 'http://x');
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const call = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers,
      body: Buffer.concat(pieces),
    };
    const problem = signatureProblem(
      call as never,
      'lambda',
      CREDENTIALS.secretAccessKey,
      Date.now() + awsAhead,
    );
    calls.push({ headers: request.headers, body: call.body.toString(), problem });
    const { status, body } =
      problem === undefined ? answer : { status: 403, body: '{"Message":"Forbidden"}' };
    response.writeHead(status, { date: new Date(Date.now() + awsAhead).toUTCString(), ...answer.headers });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const client = () =>
  registrationClient({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/_url/registration/`,
    region: 'eu-west-1',
    credentials: CREDENTIALS,
  });
const registered = {
  outcome: 'registered',
  registration: { provider: 'gha', name: 'i-0123456789abcdef0-1', jitConfig: 'a-long-configuration' },
};

test('signs its request with the instance role, for the service lambda', async () => {
  answer.body = JSON.stringify(registered);
  expect(await client().call(REQUEST)).toEqual(registered);
  expect(calls).toMatchObject([{ body: JSON.stringify(REQUEST), problem: undefined }]);
  expect(calls[0]?.headers['x-amz-security-token']).toBe('session');
  expect(calls[0]?.headers.authorization).toContain('/eu-west-1/lambda/aws4_request');
});

test('a secret that it has received is in no log', async () => {
  answer.body = JSON.stringify({
    outcome: 'registered',
    registration: { ...registered.registration, jitConfig: 'never-in-a-log' },
  });
  await client().call(REQUEST);
  expect(redactText('started with never-in-a-log')).toBe('started with [redacted]');
  // Only the latest are kept.
  for (let count = 0; count < 20; count += 1) {
    const jitConfig = `configuration-${count}`;
    answer.body = JSON.stringify({ ...registered, registration: { ...registered.registration, jitConfig } });
    await client().call(REQUEST);
  }
  expect(redactText('configuration-19')).toBe('[redacted]');
  expect(redactText('never-in-a-log')).toBe('never-in-a-log');
});

test('a clock that is an hour wrong is corrected by the time of AWS, once', async () => {
  answer.body = JSON.stringify(registered);
  for (awsAhead of [3_600_000, -3_600_000]) {
    calls = [];
    const one = client();
    expect(await one.call(REQUEST)).toEqual(registered);
    expect(calls.map(({ problem }) => problem)).toEqual(['signature expired', undefined]);
    expect(await one.call(REQUEST)).toEqual(registered);
    expect(calls).toHaveLength(3);
  }
});

test('a refusal is passed on, whatever its status', async () => {
  for (const [status, reason] of [
    [409, 'not-in-service'],
    [429, 'budget'],
    [503, 'credential'],
  ] as const) {
    answer = { status, body: JSON.stringify({ outcome: 'refused', reason, retryAfterSeconds: 2 }) };
    expect(await client().call(REQUEST)).toEqual({ outcome: 'refused', reason, retryAfterSeconds: 2 });
  }
});

describe('without an answer of the function', () => {
  test.each([
    [403, '{"Message":"Forbidden"}', false],
    [429, '{"Reason":"ConcurrentInvocationLimitExceeded"}', false],
    [400, '{"error":"malformed"}', false],
    [502, 'Internal Server Error', true],
    [504, '', true],
    [200, '<html>', true],
    [200, '{"outcome":"registered","registration":{"provider":"gha"}}', true],
  ])('%d: it can have issued a registration: %j -> %j', async (status, body, isLost) => {
    answer = { status, body };
    const result = await client().call(REQUEST);
    expect(result).toMatchObject({ outcome: 'failed', isLost });
    if (body !== '') expect(JSON.stringify(result)).not.toContain(body);
  });

  test('no connection: it counts as lost', async () => {
    const one = client();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await one.call(REQUEST)).toMatchObject({
      outcome: 'failed',
      isLost: true,
      reason: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('a redirect is not followed: the request would go to another place', async () => {
    answer = { status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } };
    expect(await client().call(REQUEST)).toMatchObject({ outcome: 'failed' });
    expect(calls).toHaveLength(1);
  });
});
