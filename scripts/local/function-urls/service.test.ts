import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { senderId } from '../gateway/callers.ts';
import { THROTTLED } from '../gateway/faults.ts';
import { type Gateway, startGateway } from '../gateway/gateway.ts';
import { callFunctionUrl } from '../testing/call-function-url.ts';
import { createFunctionUrls, functionUrl } from './service.ts';

const HOME = { account: '111122223333', region: 'us-west-2' };
const FUNCTION = 'aw_registration';
const ID = 'i-0123456789abcdef0';

/** Stands for Lambda in the emulator. */
let lambda: Server;
let gateway: Gateway;
let url: string;
let invoked: { path: string; event: Record<string, never> }[];
let result: { status?: number; headers?: Record<string, string>; payload: unknown };

beforeEach(async () => {
  invoked = [];
  result = { payload: { statusCode: 409, headers: { 'Retry-After': 2 }, body: '{"secret":"hidden"}' } };
  lambda = createServer(async (req, res) => {
    invoked.push({ path: req.url ?? '', event: JSON.parse((await buffer(req)).toString('utf8')) });
    res.writeHead(result.status ?? 200, result.headers).end(JSON.stringify(result.payload));
  });
  lambda.listen(0, '127.0.0.1');
  await once(lambda, 'listening');
  const emulator = `http://127.0.0.1:${(lambda.address() as AddressInfo).port}`;
  gateway = await startGateway(emulator);
  const credentials = { accessKeyId: 'LKIALAMBDA', secretAccessKey: 'local' };
  const client = new LambdaClient({ endpoint: emulator, region: HOME.region, credentials, maxAttempts: 1 });
  const urls = createFunctionUrls({ lambda: client, callers: gateway.callers, home: HOME });
  urls.add(FUNCTION, 'iam');
  urls.add('aw_webhooks', 'none');
  gateway.mount(urls);
  url = functionUrl(gateway.url, FUNCTION);
});
afterEach(async () => {
  await gateway.close();
  lambda.closeAllConnections();
  lambda.close();
});

const instance = { name: ID, role: 'aw-gha-default', session: ID };
const call = (body: unknown, to = url, sent?: string) =>
  callFunctionUrl(to, body, gateway.callers.issue(instance), {
    region: HOME.region,
    ...(sent !== undefined && { sent }),
  });

test('a signed call invokes the function with the identity of its caller, and returns its answer', async () => {
  const answer = await call(
    { action: 'register', previous: 'none', agent: { token: 'hidden' } },
    `${url}a/b?x=1%2F2`,
  );
  expect(answer).toEqual({ status: 409, body: { secret: 'hidden' } });
  expect(invoked).toMatchObject([
    {
      path: `/2015-03-31/functions/${FUNCTION}/invocations`,
      event: {
        version: '2.0',
        rawPath: '/a/b',
        rawQueryString: 'x=1%2F2',
        queryStringParameters: { x: '1/2' },
        headers: { 'content-type': 'application/json' },
        requestContext: {
          accountId: HOME.account,
          authorizer: {
            iam: {
              accountId: HOME.account,
              callerId: senderId(instance),
              userId: senderId(instance),
              userArn: `arn:aws:sts::${HOME.account}:assumed-role/aw-gha-default/${ID}`,
            },
          },
          http: { method: 'POST', path: '/a/b' },
          time: expect.stringMatching(/^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/),
        },
        body: '{"action":"register","previous":"none","agent":{"token":"hidden"}}',
        isBase64Encoded: false,
      },
    },
  ]);
});

test('calls are recorded with their caller, and without bodies', async () => {
  await call({ action: 'release', name: `${ID}-3` });
  expect(gateway.calls.all).toMatchObject([
    {
      service: 'lambda',
      operation: 'InvokeFunctionUrl',
      caller: ID,
      status: 409,
      parameters: { FunctionName: FUNCTION, action: 'release', name: `${ID}-3` },
    },
  ]);
  expect(JSON.stringify(gateway.calls.all)).not.toContain('hidden');
});

test('a call without a signature, of an unknown key or with another body is refused', async () => {
  const unsigned = await fetch(url, { method: 'POST', body: '{}' });
  expect(unsigned.status).toBe(403);
  const unknown = { accessKeyId: 'LKIAUNKNOWN', secretAccessKey: 'local' };
  expect(await callFunctionUrl(url, {}, unknown, { region: HOME.region })).toMatchObject({ status: 403 });
  const key = { ...gateway.callers.issue(instance), secretAccessKey: 'guessed' };
  expect(await callFunctionUrl(url, {}, key, { region: HOME.region })).toMatchObject({ status: 403 });
  expect(await call({ action: 'register' }, url, '{"action":"REGISTER"}')).toMatchObject({ status: 403 });
  expect(invoked).toEqual([]);
  expect(gateway.calls.all.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
});

test('a public URL takes unsigned calls, and its function sees no identity', async () => {
  const bytes = await fetch(functionUrl(gateway.url, 'aw_webhooks'), {
    method: 'POST',
    body: new Uint8Array([255]),
  });
  expect(bytes.status).toBe(409);
  expect(invoked).toMatchObject([{ event: { body: '/w==', isBase64Encoded: true } }]);
  expect(invoked[0]?.event.requestContext).not.toHaveProperty('authorizer');
});

test('a URL that does not exist is not found', async () => {
  expect((await fetch(functionUrl(gateway.url, 'aw_other'))).status).toBe(404);
});

test('an answer without a status is the body of a 200', async () => {
  result = { payload: { outcome: 'done' } };
  expect(await call({})).toEqual({ status: 200, body: { outcome: 'done' } });
});

test('an error of the function is a 502 without its text', async () => {
  result = { headers: { 'x-amz-function-error': 'Unhandled' }, payload: { errorMessage: 'hidden' } };
  expect(await call({})).toEqual({ status: 502, body: { Message: 'Internal Server Error' } });
});

test('a call beyond the reserved concurrency, and a throttled one, get 429', async () => {
  result = {
    status: 429,
    headers: { 'x-amzn-errortype': 'TooManyRequestsException', 'content-type': 'application/json' },
    payload: {
      Type: 'User',
      Message: 'Rate Exceeded.',
      Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded',
    },
  };
  expect(await call({})).toMatchObject({ status: 429 });
  gateway.faults.add({
    service: 'lambda',
    operations: ['InvokeFunctionUrl'],
    effect: { kind: 'error', error: THROTTLED.lambda },
  });
  expect(await call({})).toMatchObject({ status: 429 });
  expect(invoked).toHaveLength(1);
});

test('an answer can be lost after the function has run', async () => {
  gateway.faults.add({ service: 'lambda', times: 1, effect: { kind: 'lose-answer' } });
  await expect(call({})).rejects.toThrow();
  expect(invoked).toHaveLength(1);
  expect(gateway.calls.all).toMatchObject([{ status: 409, fault: 'lose-answer' }]);
  expect(await call({})).toMatchObject({ status: 409 });
});
