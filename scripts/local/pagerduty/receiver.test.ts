import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type PagerDutyServer, startPagerDuty } from './server.ts';

const KEY = '0123456789abcdef0123456789abcdef';
const OTHER = 'fedcba9876543210fedcba9876543210';

let now: number;
let pagerDuty: PagerDutyServer;

beforeEach(async () => {
  now = Date.parse('2026-05-14T16:20:00Z');
  pagerDuty = await startPagerDuty({
    routingKeys: { default: KEY, critical: OTHER },
    limitPerMinute: 120,
    now: () => now,
  });
});

afterEach(() => pagerDuty.close());

const PAYLOAD = { summary: 'ALARM: disk full', source: 'aw', severity: 'critical' };

async function send(event: unknown) {
  const body = typeof event === 'string' ? event : JSON.stringify(event);
  const response = await fetch(pagerDuty.url, { method: 'POST', body });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const event = (action: string, extra: Record<string, unknown> = {}) => ({
  routing_key: KEY,
  event_action: action,
  dedup_key: 'alarm-1',
  ...(action === 'trigger' && { payload: PAYLOAD }),
  ...extra,
});

describe('the Events API v2 receiver', () => {
  it('opens, appends, acknowledges and resolves, and opens anew after that', async () => {
    expect(await send(event('trigger'))).toEqual({
      status: 202,
      body: { status: 'success', message: 'Event processed', dedup_key: 'alarm-1' },
    });
    await send(event('trigger'));
    await send(event('acknowledge'));
    expect(pagerDuty.incidents()).toMatchObject([{ number: 1, status: 'acknowledged', route: 'default' }]);
    now += 60_000;
    await send(event('resolve'));
    await send(event('trigger', { payload: { ...PAYLOAD, severity: 'info' } }));
    expect(pagerDuty.incidents()).toMatchObject([
      { status: 'resolved', resolvedAt: new Date(now), severity: 'critical' },
      { number: 2, status: 'triggered', resolvedAt: undefined, severity: 'info' },
    ]);
    expect(pagerDuty.incidents()[0]?.events.map(({ action }) => action)).toEqual([
      'trigger',
      'trigger',
      'acknowledge',
      'resolve',
    ]);
  });

  it('takes a resolve through another key, and drops it without a word', async () => {
    await send(event('trigger'));
    expect((await send(event('resolve', { routing_key: OTHER }))).status).toBe(202);
    expect((await send(event('resolve', { dedup_key: 'never-opened' }))).status).toBe(202);
    expect(pagerDuty.incidents()).toMatchObject([{ status: 'triggered' }]);
    expect(pagerDuty.dropped()).toEqual([
      { route: 'critical', dedupKey: 'alarm-1', action: 'resolve' },
      { route: 'default', dedupKey: 'never-opened', action: 'resolve' },
    ]);
  });

  it('makes up a dedup key for a trigger that has none', async () => {
    const { body } = await send(event('trigger', { dedup_key: undefined }));
    expect(body.dedup_key).toMatch(/^[0-9a-f]{32}$/);
    expect(pagerDuty.incidents()[0]?.dedupKey).toBe(body.dedup_key);
  });

  it.each([
    ['no JSON', '{"routing_key":', /^Event is not a JSON object$/],
    ['a short key', event('trigger', { routing_key: 'abc' }), /^Length of 'routing_key' is incorrect/],
    ['a key with a line end', event('trigger', { routing_key: `${KEY}\n` }), /^Length of 'routing_key'/],
    ['an unknown key', event('trigger', { routing_key: 'x'.repeat(32) }), /^Invalid routing key$/],
    ['an unknown action', event('page'), /^'event_action' is invalid/],
    ['a resolve without a key', event('resolve', { dedup_key: '' }), /^'dedup_key' is missing or blank$/],
    ['a long dedup key', event('trigger', { dedup_key: 'k'.repeat(256) }), /^'dedup_key' is too long/],
    ['no payload', event('trigger', { payload: undefined }), /^'payload' is missing or blank$/],
    [
      'no source',
      event('trigger', { payload: { ...PAYLOAD, source: '' } }),
      /^'payload.source' is missing or blank$/,
    ],
    [
      'a source that is no text',
      event('trigger', { payload: { ...PAYLOAD, source: 1 } }),
      /^'payload.source'/,
    ],
    [
      'a long summary',
      event('trigger', { payload: { ...PAYLOAD, summary: 's'.repeat(1025) } }),
      /^'payload.summary' is too long/,
    ],
    [
      'another severity',
      event('trigger', { payload: { ...PAYLOAD, severity: 'high' } }),
      /^'payload.severity' is invalid/,
    ],
    [
      'a time in words',
      event('trigger', { payload: { ...PAYLOAD, timestamp: 'today' } }),
      /^'payload.timestamp' is invalid/,
    ],
    [
      'a link to nowhere',
      event('trigger', { links: [{ text: 'x' }] }),
      /^'links.0.href' is missing or blank$/,
    ],
    [
      'too much',
      event('trigger', { payload: { ...PAYLOAD, custom_details: 'x'.repeat(512 * 1024) } }),
      /larger than 512 KB/,
    ],
  ])('refuses %s with the reason', async (_, body, reason) => {
    const answer = await send(body);
    expect(answer).toMatchObject({
      status: 400,
      body: {
        status: 'invalid event',
        message: 'Event object is invalid',
        errors: [expect.stringMatching(reason)],
      },
    });
    expect(pagerDuty.incidents()).toEqual([]);
  });

  it('takes the longest that it allows, and the time as CloudWatch writes it', async () => {
    const payload = { ...PAYLOAD, summary: 's'.repeat(1024), timestamp: '2024-05-14T16:20:12.204+0000' };
    expect((await send(event('trigger', { dedup_key: 'k'.repeat(255), payload }))).status).toBe(202);
  });

  it('slows a key down after 120 calls a minute, and no other', async () => {
    const statuses = [];
    for (let count = 0; count < 121; count += 1) statuses.push((await send(event('trigger'))).status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(120);
    expect(statuses.at(-1)).toBe(429);
    expect((await send(event('trigger', { routing_key: OTHER }))).status).toBe(202);
    now += 60_001;
    expect((await send(event('trigger'))).status).toBe(202);
  });

  it('fails on request, then goes on', async () => {
    pagerDuty.failNext(1, 503);
    expect((await send(event('trigger'))).status).toBe(503);
    pagerDuty.failNext(1, 429);
    expect((await send(event('trigger'))).status).toBe(429);
    expect((await send(event('trigger'))).status).toBe(202);
    expect(pagerDuty.calls().map((call) => call.status)).toEqual([503, 429, 202]);
  });

  it('keeps no routing key', async () => {
    await send(event('trigger'));
    await send(event('trigger', { payload: {} }));
    const kept = JSON.stringify([pagerDuty.incidents(), pagerDuty.calls(), pagerDuty.dropped()]);
    expect(kept).not.toContain(KEY);
  });

  it('has one path and one method', async () => {
    expect((await fetch(pagerDuty.url)).status).toBe(405);
    const response = await fetch(pagerDuty.url.replace('v2', 'v1'), { method: 'POST', body: '{}' });
    expect(response.status).toBe(404);
  });
});
