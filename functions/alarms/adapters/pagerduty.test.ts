import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../../shared/runtime/errors.ts';
import { registerSecret } from '../../../shared/runtime/redact.ts';
import { pagerDuty } from './pagerduty.ts';

const KEY = 'P0123456789abcdef0123456789abcde';
const EVENT = { event_action: 'resolve', dedup_key: 'arn:x' } as const;
const clock = { now: () => new Date('2026-11-23T03:00:00Z') };

let answer: (request: IncomingMessage, response: ServerResponse) => void;
let requests: { method: string | undefined; url: string | undefined; body: unknown }[];
const server = createServer(async (request, response) => {
  requests.push({
    method: request.method,
    url: request.url,
    body: JSON.parse((await text(request)) || 'null'),
  });
  answer(request, response);
});
let base: string;

beforeEach(async () => {
  requests = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

const answers = (status: number, body: unknown = {}, headers: Record<string, string> = {}) => {
  answer = (_, response) => response.writeHead(status, headers).end(JSON.stringify(body));
};

/** What sending comes to: undefined, or the error. */
const send = () =>
  pagerDuty(base, clock)
    .send(EVENT, KEY)
    .catch((error: unknown) => error);

describe('an event for PagerDuty', () => {
  test('is queued', async () => {
    answers(202, { status: 'success' });
    expect(await send()).toBeUndefined();
    expect(requests).toEqual([{ method: 'POST', url: '/v2/enqueue', body: { routing_key: KEY, ...EVENT } }]);
  });

  test.each([
    [400, 'Event object is invalid'],
    [403, 'no'],
    [404, 'no such page'],
  ])('is refused for good: %i', async (status, message) => {
    answers(status, { message });
    const error = await send();
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({ reason: 'pagerduty-refused', message: expect.stringContaining(message) });
  });

  test('has an answer that never ends, of which the beginning is read', async () => {
    let sent = 0;
    answer = (_, response) => {
      response.writeHead(400);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536))) sent += 65_536;
      };
      response.on('drain', more);
      more();
    };
    const error = await send();
    expect(error).toMatchObject({ reason: 'pagerduty-refused' });
    expect((error as Error).message.length).toBeLessThan(600);
    await expect.poll(() => sent).toBeLessThan(64 * 1024 * 1024);
  });

  test('goes nowhere else, and its key with it', async () => {
    answers(307, {}, { location: '/elsewhere' });
    expect(await send()).toMatchObject({ reason: 'pagerduty-refused' });
    expect(requests).toHaveLength(1);
  });

  test.each([
    [429, '7', 'pagerduty-throttled', 7],
    [429, 'Mon, 23 Nov 2026 03:00:30 GMT', 'pagerduty-throttled', 30],
    [503, '999999', 'pagerduty-unavailable', 900],
    [500, 'soon', 'pagerduty-unavailable', undefined],
    [502, '', 'pagerduty-unavailable', undefined],
    [408, '0', 'pagerduty-unavailable', 1],
  ])('waits: %i, Retry-After "%s"', async (status, retryAfter, reason, afterSeconds) => {
    answers(status, {}, retryAfter ? { 'retry-after': retryAfter } : {});
    const error = await send();
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ reason, afterSeconds });
  });

  test('waits where nobody answers, or the line breaks', async () => {
    answer = (_, response) =>
      response.writeHead(202, { 'content-length': '100' }).write('x', () => response.destroy());
    expect(await send()).toMatchObject({ reason: 'pagerduty-unreachable' });
    answer = (request) => request.socket.destroy();
    expect(await send()).toMatchObject({ reason: 'pagerduty-unreachable' });
    const nobody = pagerDuty('http://127.0.0.1:9', clock);
    await expect(nobody.send(EVENT, KEY)).rejects.toMatchObject({ reason: 'pagerduty-unreachable' });
  });

  test('leaves no trace of its key in an error', async () => {
    registerSecret(KEY);
    answers(400, { message: `routing key ${KEY} is invalid`, padding: 'x'.repeat(10_000) });
    const error = await send();
    expect(error).toBeInstanceOf(PermanentError);
    const message = error instanceof Error ? error.message : '';
    expect(message).toContain('[redacted] is invalid');
    expect(message.length).toBeLessThan(600);
  });
});
