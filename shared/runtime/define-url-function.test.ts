import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { sqsRecord } from '../../test/support/sqs.ts';
import {
  defineUrlFunction,
  type UrlAnswer,
  type UrlEvent,
  type UrlRequest,
  urlOrInbox,
} from './define-url-function.ts';
import { text } from './env.ts';
import { ConfigurationError, PermanentError, RetryableError } from './errors.ts';

let lines: Record<string, unknown>[];
beforeEach(() => {
  lines = [];
  // In this mode Powertools prints through the console, which the test replaces.
  const write = (line: string) => lines.push(JSON.parse(line));
  for (const method of ['info', 'warn', 'error', 'debug'] as const)
    vi.spyOn(console, method).mockImplementation(write);
  vi.stubEnv('POWERTOOLS_DEV', 'true');
  vi.stubEnv('NAME_PREFIX', 'aw');
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const context = { getRemainingTimeInMillis: () => 60_000 };

function event(change: Partial<UrlEvent> = {}, iam?: { accountId: string; userArn: string }): UrlEvent {
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: '/x',
    rawQueryString: '',
    headers: { 'content-type': 'application/json' },
    requestContext: {
      requestId: 'r-1',
      http: { method: 'POST', path: '/x', protocol: 'HTTP/1.1', sourceIp: '::1', userAgent: 'test' },
      ...(iam && { authorizer: { iam } }),
    } as UrlEvent['requestContext'],
    body: 'secret body',
    isBase64Encoded: false,
    ...change,
  };
}

const ok = (body: unknown = {}): UrlAnswer => ({ status: 200, body, outcome: 'answered' });

function functionThat(handle: (request: UrlRequest) => Promise<UrlAnswer>, limitMs = 5_000) {
  return defineUrlFunction({
    name: 'test',
    env: { NAME_PREFIX: text },
    maxBodyBytes: 16,
    limitMs,
    connect: () => ({}),
    handle,
  });
}

const body = (result: unknown) => JSON.parse((result as { body: string }).body);

test('a request is handed over with its bytes and the principal that signed it, and answered as JSON', async () => {
  const seen: UrlRequest[] = [];
  const handler = functionThat(async (request) => {
    seen.push(request);
    return ok({ secret: 'in the answer' });
  });
  const iam = { accountId: '123456789012', userArn: 'arn:aws:sts::123456789012:assumed-role/r/i-1' };
  expect(await handler(event({}, iam), context)).toEqual({
    statusCode: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: '{"secret":"in the answer"}',
  });
  expect(seen).toMatchObject([
    { id: 'r-1', method: 'POST', path: '/x', caller: { account: '123456789012', arn: iam.userArn } },
  ]);
  expect(Buffer.from(seen[0]?.body ?? []).toString()).toBe('secret body');
});

test('one line per request, with its outcome, without its body and without that of the answer', async () => {
  const handler = functionThat(async () => ({
    ...ok({ secret: 'in the answer' }),
    reason: 'because',
    detail: { n: 3 },
  }));
  await handler(event(), context);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    message: 'request handled',
    service: 'test',
    requestId: 'r-1',
    request: {
      method: 'POST',
      path: '/x',
      status: 200,
      outcome: 'answered',
      reason: 'because',
      detail: { n: 3 },
    },
  });
  expect(JSON.stringify(lines)).not.toMatch(/secret body|in the answer/);
});

describe('bodies', () => {
  const sizes = async (change: Partial<UrlEvent>) => {
    let bytes: Uint8Array | undefined;
    const handler = functionThat(async (request) => {
      bytes = request.body;
      return ok();
    });
    const { statusCode } = (await handler(event(change), context)) as { statusCode: number };
    return [statusCode, bytes?.length];
  };
  const encoded = (length: number) => ({
    body: Buffer.alloc(length, 255).toString('base64'),
    isBase64Encoded: true,
  });

  test.each<[string, Partial<UrlEvent>, (number | undefined)[]]>([
    ['at the limit', { body: 'x'.repeat(16) }, [200, 16]],
    ['above it', { body: 'x'.repeat(17) }, [413, undefined]],
    ['above it in bytes, not in characters', { body: 'ü'.repeat(9) }, [413, undefined]],
    ['base64 at the limit', encoded(16), [200, 16]],
    ['base64 above it', encoded(17), [413, undefined]],
    ['base64 far above it', encoded(1_000_000), [413, undefined]],
  ])('%s', async (_, change, expected) => {
    expect(await sizes(change)).toEqual(expected);
  });

  test('none', async () => {
    const { body: _, ...without } = event();
    const handler = functionThat(async (request) => ok(request.body.length));
    expect(body(await handler(without, context))).toBe(0);
  });
});

describe('errors', () => {
  test.each([
    [new PermanentError('malformed', 'x'), 400, 'malformed', undefined],
    [new RetryableError('busy', 'x', { afterSeconds: 7 }), 503, 'busy', '7'],
    [new RetryableError('busy', 'x'), 503, 'busy', '10'],
    [new ConfigurationError('x'), 503, 'configuration', '60'],
    [Object.assign(new Error('x'), { name: 'Throttling' }), 503, 'service-unavailable', '10'],
    [new TypeError('x is not a function'), 500, 'unexpected-error', '10'],
  ])('%s', async (error, statusCode, reason, after) => {
    const handler = functionThat(async () => {
      throw error;
    });
    const result = (await handler(event(), context)) as { headers: object };
    expect(result).toMatchObject({ statusCode, body: JSON.stringify({ error: reason }) });
    expect(result.headers).toEqual(
      expect.objectContaining(after === undefined ? {} : { 'retry-after': after }),
    );
    expect(lines).toMatchObject([{ request: { status: statusCode, reason } }]);
    expect(lines[0]?.level).toBe(statusCode === 500 ? 'ERROR' : statusCode === 503 ? 'WARN' : 'INFO');
  });

  test('a request that hangs is answered at its limit, and its signal aborts', async () => {
    let signal: AbortSignal | undefined;
    const handler = functionThat((request) => {
      signal = request.signal;
      return new Promise(() => {});
    }, 40);
    expect(await handler(event(), context)).toMatchObject({
      statusCode: 503,
      body: '{"error":"time-limit"}',
    });
    expect(signal?.aborted).toBe(true);
  });

  test('the limit ends before the invocation does', async () => {
    const handler = functionThat(() => new Promise(() => {}));
    const began = performance.now();
    await handler(event(), { getRemainingTimeInMillis: () => 1_050 });
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  test('a wrong environment is answered, and the next request tries again', async () => {
    vi.stubEnv('NAME_PREFIX', '');
    const handler = functionThat(async () => ok());
    expect(await handler(event(), context)).toMatchObject({ statusCode: 503 });
    expect(JSON.stringify(lines)).toContain('NAME_PREFIX');
    vi.stubEnv('NAME_PREFIX', 'aw');
    expect(await handler(event(), context)).toMatchObject({ statusCode: 200 });
  });

  test('have the format of the other answers of the function', async () => {
    const handler = defineUrlFunction({
      name: 'test',
      env: {},
      maxBodyBytes: 16,
      limitMs: 5_000,
      connect: () => ({}),
      handle: async () => {
        throw new RetryableError('busy', 'x', { afterSeconds: 7 });
      },
      failureBody: ({ reason, afterSeconds }) => ({ outcome: 'refused', reason, afterSeconds }),
    });
    expect(body(await handler(event(), context))).toEqual({
      outcome: 'refused',
      reason: 'busy',
      afterSeconds: 7,
    });
  });
});

test('a function with a URL and an inbox gets each event where it belongs', async () => {
  const handler = urlOrInbox(
    async () => 'answer',
    async () => ({ batchItemFailures: [] }),
  );
  expect(await handler(event(), context)).toBe('answer');
  expect(await handler({ Records: [sqsRecord('{}')] }, context)).toEqual({ batchItemFailures: [] });
  // What a caller sends is in the body.
  expect(await handler(event({ body: '{"Records":[]}' }), context)).toBe('answer');
});
