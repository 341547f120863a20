import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ProviderError, type RateLimit } from './provider.ts';
import { callProvider, type ProviderRequest } from './request.ts';

const NOW = new Date('2026-11-23T08:00:00Z');

let server: Server;
let answer: { status: number; headers?: Record<string, string>; body?: string } | 'hang';
let seen: {
  method: string | undefined;
  url: string | undefined;
  headers: Record<string, unknown>;
  body: string;
}[];

beforeEach(async () => {
  seen = [];
  answer = { status: 200, body: '{"ok":true}' };
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ method: request.method, url: request.url, headers: request.headers, body });
    if (answer !== 'hang') response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v3/things?key=value`;

function call(
  change: Partial<ProviderRequest> = {},
  rates: RateLimit[] = [],
  signal = new AbortController().signal,
) {
  const headers = { authorization: 'Bearer hidden-token' };
  const request = {
    provider: 'GitHub',
    method: 'POST',
    url: url(),
    headers,
    body: { a: 1 },
    ...change,
  } as const;
  return callProvider(request, {
    signal,
    onRateLimit: (rate) => rates.push(rate),
    clock: { now: () => NOW },
  });
}

const refusal = async () => {
  const error: unknown = await call().catch((thrown) => thrown);
  if (!(error instanceof ProviderError)) throw error;
  return error;
};

test('a call has its headers and JSON, and its answer is parsed', async () => {
  expect(await call()).toMatchObject({ status: 200, body: { ok: true } });
  expect(seen).toMatchObject([
    {
      method: 'POST',
      url: '/v3/things?key=value',
      headers: {
        authorization: 'Bearer hidden-token',
        'user-agent': 'hearth',
        'content-type': 'application/json',
      },
      body: '{"a":1}',
    },
  ]);
});

test('an empty answer, and a status that is a result', async () => {
  answer = { status: 204 };
  expect(await call()).toMatchObject({ status: 204, body: undefined });
  answer = { status: 409, body: 'not JSON' };
  expect(await call({ accept: [409] })).toMatchObject({ status: 409, body: undefined });
});

describe('refusals', () => {
  test.each<[number, Record<string, string>, string, string, number | undefined]>([
    [401, {}, '{"message":"Bad credentials"}', 'credential', undefined],
    [403, {}, '{"message":"Resource not accessible by integration"}', 'settings', undefined],
    [403, {}, '{"message":"You have exceeded a secondary rate limit"}', 'rate-limited', 60],
    [403, { 'retry-after': '30' }, '', 'rate-limited', 30],
    [403, { 'retry-after': 'Mon, 23 Nov 2026 08:00:45 GMT' }, '', 'rate-limited', 45],
    [
      403,
      {
        'x-ratelimit-limit': '5000',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': String(NOW.getTime() / 1000 + 90),
      },
      '',
      'rate-limited',
      90,
    ],
    [429, {}, '', 'rate-limited', 60],
    [
      429,
      { 'ratelimit-limit': '10', 'ratelimit-remaining': '0', 'ratelimit-reset': '5' },
      '',
      'rate-limited',
      5,
    ],
    [404, {}, '{"message":"Not Found"}', 'settings', undefined],
    [422, {}, '{"message":"Invalid"}', 'settings', undefined],
    [301, { location: 'http://127.0.0.1:9/' }, '', 'settings', undefined],
    [408, {}, '', 'unavailable', undefined],
    [500, {}, '<html>', 'unavailable', undefined],
    [503, { 'retry-after': '20' }, '', 'unavailable', 20],
  ])('%i %j %s', async (status, headers, body, kind, afterSeconds) => {
    answer = { status, headers, body };
    expect(await refusal()).toMatchObject({ kind, status, afterSeconds });
    // A redirect is not followed: it would carry the credential along.
    expect(seen).toHaveLength(1);
  });

  test('name the call, the message of the provider and the permissions that are missing, and nothing else', async () => {
    const headers = { 'x-accepted-github-permissions': 'administration=write' };
    answer = { status: 403, headers, body: `{"message":"${'no '.repeat(500)}"}` };
    const { message } = await refusal();
    expect(message).toMatch(/^GitHub \(POST 127\.0\.0\.1:\d+\/v3\/things\) answered 403: no no/);
    expect(message).toContain('(needs the permissions administration=write)');
    expect(message.length).toBeLessThan(500);
    expect(message).not.toMatch(/hidden-token|key=value/);
  });
});

test('an answer that is larger than any of a provider is none', async () => {
  const body = JSON.stringify({ text: 'ä'.repeat(4 * 2 ** 20 - 100) });
  answer = { status: 200, body };
  expect(await call()).toMatchObject({ body: JSON.parse(body) });
  answer = { status: 200, body: JSON.stringify({ text: 'ä'.repeat(4 * 2 ** 20) }) };
  const { kind, message } = await refusal();
  expect(kind).toBe('unavailable');
  expect(message).toContain('its answer has more than 8388608 bytes');
});

test('an answer that is not JSON is none, and is not quoted', async () => {
  answer = { status: 200, body: 'hidden {' };
  const { kind, message } = await refusal();
  expect(kind).toBe('unavailable');
  expect(message).not.toContain('hidden');
});

test('no connection', async () => {
  const error: unknown = await call({ url: 'http://127.0.0.1:1/x' }).catch((thrown) => thrown);
  expect(error).toMatchObject({ kind: 'unavailable', status: undefined });
  expect(String(error)).toContain('gave no answer');
});

test('a call ends with the request that it is for', async () => {
  answer = 'hang';
  const limit = new AbortController();
  const hanging = call({}, [], limit.signal);
  setTimeout(() => limit.abort(), 30);
  await expect(hanging).rejects.toMatchObject({ kind: 'unavailable' });
});

test('the rate limit of each answer is handed on', async () => {
  const rates: RateLimit[] = [];
  const reset = NOW.getTime() / 1000 + 600;
  const headers = {
    'x-ratelimit-limit': '10000',
    'x-ratelimit-remaining': '42',
    'x-ratelimit-reset': String(reset),
    'x-ratelimit-resource': 'actions_runner_registration',
  };
  answer = { status: 200, headers, body: '{}' };
  await call({}, rates);
  const resetAt = new Date(reset * 1000);
  expect(rates).toEqual([{ resource: 'actions_runner_registration', limit: 10_000, remaining: 42, resetAt }]);
  answer = { status: 200, headers: { 'x-ratelimit-limit': 'many' }, body: '{}' };
  await call({}, rates);
  expect(rates).toHaveLength(1);
});
