import { readFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { resolveEvent } from './incident.ts';
import { CALLS_PER_MINUTE, PER_ENVIRONMENT, pacedPager } from './pace.ts';

let now: number;
let sent: { key: string; at: number }[];
beforeEach(() => {
  now = 0;
  sent = [];
});

const pager = (perMinute: number) =>
  pacedPager({ send: async (_, key) => void sent.push({ key, at: now }) }, perMinute, {
    now: () => new Date(now),
  });
const event = resolveEvent('arn:x');

test('all execution environments together keep to the limit of PagerDuty', () => {
  const { concurrency } = JSON.parse(readFileSync(new URL('function.json', import.meta.url), 'utf8'));
  expect(concurrency * PER_ENVIRONMENT).toBeLessThanOrEqual(CALLS_PER_MINUTE);
});

test('a call beyond the limit is refused, and goes through at its turn', async () => {
  const paced = pager(3);
  for (now = 0; now < 3_000; now += 1_000) await paced.send(event, 'k');
  const turns: number[] = [];
  for (let count = 0; count < 5; count += 1) {
    const refused = await paced.send(event, 'k').catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: 'pagerduty-throttled' });
    turns.push((refused as { afterSeconds: number }).afterSeconds);
  }
  // The first turns are a minute after the first calls, and the next ones another minute later.
  expect(turns).toEqual([57, 58, 59, 117, 118]);
  const began = now;
  for (const turn of turns) {
    now = began + turn * 1_000;
    await paced.send(event, 'k');
  }
  const times = sent.map(({ at }) => at);
  for (const time of times)
    expect(times.filter((at) => at > time - 60_000 && at <= time).length).toBeLessThanOrEqual(3);
});

test('each key has a limit of its own, and a call that fails counts', async () => {
  const paced = pager(1);
  await paced.send(event, 'one');
  await paced.send(event, 'other');
  await expect(paced.send(event, 'one')).rejects.toMatchObject({ reason: 'pagerduty-throttled' });
  expect(sent.map(({ key }) => key)).toEqual(['one', 'other']);
  const failing = pacedPager({ send: () => Promise.reject(new Error('no')) }, 1, {
    now: () => new Date(now),
  });
  await expect(failing.send(event, 'k')).rejects.toThrow('no');
  await expect(failing.send(event, 'k')).rejects.toMatchObject({ reason: 'pagerduty-throttled' });
});
