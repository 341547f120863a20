import { beforeEach, describe, expect, test } from 'vitest';
import type { AlarmHint } from './alarm-event.ts';
import type { DefiniteState } from './alarm-history.ts';
import type { Alarm } from './alarm-source.ts';
import type { Routes } from './routes.ts';
import { type AlarmDeps, settle } from './settle.ts';

const NOW = new Date('2026-11-23T03:00:00Z');
const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1000);

const alarm = (state: Alarm['state'], change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-x',
  arn: 'arn:x',
  state,
  reason: 'because',
  since: ago(5),
  description: '',
  muted: false,
  metric: undefined,
  dimensions: {},
  ...change,
});

type Said = AlarmHint['said'];
const hint = (said: Said, secondsAgo = 5, change: Partial<Alarm> = {}): AlarmHint => {
  const common = { name: 'aw-x', arn: 'arn:x', at: ago(secondsAgo) };
  return said === 'ALARM' ? { ...common, said, told: alarm('ALARM', change) } : { ...common, said };
};

/** What each look at the alarm shows or throws; the last one stays. */
let looks: (Alarm | undefined | Error)[];
let before: DefiniteState | undefined | Error;
let routes: Routes;
let sent: string[];
let counted: string[];
let warned: string[];

beforeEach(() => {
  before = undefined;
  routes = new Map([['default', 'key']]);
  sent = [];
  counted = [];
  warned = [];
});

const deps: AlarmDeps = {
  alarms: {
    async look() {
      const [shown] = looks;
      if (looks.length > 1) looks.shift();
      if (shown instanceof Error) throw shown;
      return shown;
    },
    async before() {
      if (before instanceof Error) throw before;
      return before;
    },
    tags: async () => ({}),
  },
  pager: {
    async send(event) {
      sent.push(event.event_action);
    },
  },
  routing: { get: async () => routes, refresh: () => {} },
  count: (metric) => counted.push(metric),
  warn: (message) => warned.push(message),
  clock: { now: () => NOW },
};

const throttled = Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
const forbidden = Object.assign(new Error('no'), { name: 'AccessDenied' });

describe('an event and the alarm as it is', () => {
  test.each([
    ['ALARM', alarm('ALARM'), ['trigger']],
    ['OK', alarm('OK'), ['resolve']],
    ['ALARM', alarm('OK', { since: ago(1) }), ['resolve']],
    ['OK', alarm('ALARM', { since: ago(1) }), ['trigger']],
    ['INSUFFICIENT_DATA', alarm('ALARM', { since: ago(1) }), ['trigger']],
    ['deleted', undefined, ['resolve']],
    ['deleted', alarm('ALARM', { since: ago(1) }), ['trigger']],
  ] as const)('%s', async (said, now, expected) => {
    looks = [now];
    expect(await settle(hint(said), 1, deps)).toEqual({ outcome: 'done', detail: { sent: expected[0] } });
    expect(sent).toEqual(expected);
    expect(counted).toEqual(['IncidentsSent']);
  });

  test('no data asks for nothing', async () => {
    looks = [alarm('INSUFFICIENT_DATA')];
    const outcome = { outcome: 'skipped', reason: 'insufficient-data' };
    expect(await settle(hint('INSUFFICIENT_DATA'), 1, deps)).toEqual(outcome);
    expect(sent).toEqual([]);
  });

  test('a muted alarm pages nobody', async () => {
    looks = [alarm('ALARM', { muted: true })];
    expect(await settle(hint('ALARM'), 1, deps)).toEqual({ outcome: 'skipped', reason: 'muted' });
  });

  test.each([
    ['ALARM', 'ALARM', ['trigger']],
    ['ALARM', 'OK', ['resolve']],
    ['OK', 'ALARM', ['trigger']],
    ['OK', 'OK', ['resolve']],
  ] as const)('%s, overtaken by no data: its history says %s', async (said, was, expected) => {
    looks = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
    before = was;
    await settle(hint(said), 1, deps);
    expect(sent).toEqual(expected);
  });

  test.each([
    ['ALARM', { outcome: 'skipped', reason: 'insufficient-data' }],
    ['OK', { outcome: 'done', detail: { sent: 'resolve' } }],
  ] as const)('%s, overtaken by no data, with a history that nobody may read', async (said, outcome) => {
    looks = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
    before = forbidden;
    expect(await settle(hint(said), 1, deps)).toEqual(outcome);
    expect(new Set(warned)).toEqual(new Set(["the alarm's history could not be read"]));
  });

  test('a history that cannot be read now is waited for', async () => {
    looks = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
    before = throttled;
    await expect(settle(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
  });
});

describe('an alarm that changes while it is told', () => {
  test('is told again', async () => {
    looks = [alarm('ALARM'), alarm('OK', { since: ago(0) })];
    expect(await settle(hint('ALARM'), 1, deps)).toMatchObject({ detail: { sent: 'resolve' } });
    expect(sent).toEqual(['trigger', 'resolve']);
  });

  test('without end is left for later', async () => {
    const flapping = [0, 1, 2, 3].map((look) => alarm(look % 2 ? 'OK' : 'ALARM'));
    looks = flapping;
    await expect(settle(hint('ALARM', 600), 1, deps)).rejects.toMatchObject({ reason: 'alarm-flapping' });
    expect(sent).toHaveLength(4);
  });
});

describe('a look that is behind a fresh event', () => {
  test.each([
    ['ALARM', alarm('OK', { since: ago(100) })],
    ['OK', alarm('ALARM', { since: ago(100) })],
    ['ALARM', undefined],
    ['deleted', alarm('ALARM', { since: ago(100) })],
  ] as const)('is not believed: %s', async (said, now) => {
    looks = [now];
    await expect(settle(hint(said), 1, deps)).rejects.toMatchObject({
      reason: 'event-ahead',
      afterSeconds: 5,
    });
    expect(sent).toEqual([]);
  });

  test('is believed once the event is a minute old', async () => {
    looks = [alarm('OK', { since: ago(1000) })];
    await settle(hint('ALARM', 61), 9, deps);
    expect(sent).toEqual(['resolve']);
  });
});

describe('an alarm that cannot be looked at', () => {
  test('pages by its fresh event, once, and the record stays', async () => {
    looks = [throttled];
    await expect(settle(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    await expect(settle(hint('ALARM'), 2, deps)).rejects.toBe(throttled);
    expect(sent).toEqual(['trigger']);
    expect(counted).toEqual(['IncidentsSent']);
  });

  test.each([
    ['that recovered', hint('OK')],
    ['that is muted', hint('ALARM', 5, { muted: true })],
    ['of a while ago', hint('ALARM', 90)],
  ])('pages nobody by an event %s', async (_, event) => {
    looks = [forbidden];
    await expect(settle(event, 1, deps)).rejects.toBe(forbidden);
    expect(sent).toEqual([]);
  });

  test('after it was told pages no second time', async () => {
    looks = [alarm('OK', { since: ago(1) }), throttled];
    await expect(settle(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual(['resolve']);
  });
});

test('without a routing key the alarm is logged and counted, and nothing fails', async () => {
  routes = new Map();
  looks = [alarm('ALARM')];
  expect(await settle(hint('ALARM'), 1, deps)).toEqual({
    outcome: 'skipped',
    reason: 'no-routing-key',
    detail: { alarm: 'aw-x' },
  });
  expect(counted).toEqual(['IncidentsUnsent']);
  expect(warned).toHaveLength(1);
});
