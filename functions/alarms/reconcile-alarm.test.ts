import { beforeEach, describe, expect, test } from 'vitest';
import type { Alarm, PriorState } from './alarm.ts';
import type { AlarmEvent } from './alarm-event.ts';
import type { AlarmDeps, Routes } from './ports.ts';
import { reconcileAlarm } from './reconcile-alarm.ts';

const NOW = new Date('2026-11-23T03:00:00Z');
const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1000);

const alarm = (state: Alarm['state'], change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-x',
  arn: 'arn:x',
  state,
  reason: 'because',
  since: ago(5),
  description: '',
  suppression: { kind: 'none' },
  metric: undefined,
  dimensions: {},
  ...change,
});

type ReportedState = AlarmEvent['reportedState'];
const hint = (reportedState: ReportedState, secondsAgo = 5, change: Partial<Alarm> = {}): AlarmEvent => {
  const common = { name: 'aw-x', arn: 'arn:x', group: undefined, at: ago(secondsAgo) };
  return reportedState === 'ALARM'
    ? { ...common, reportedState, snapshot: alarm('ALARM', change) }
    : { ...common, reportedState };
};

/** What each observation of the alarm returns or throws; the last one is repeated. */
let observations: (Alarm | undefined | Error)[];
let prior: PriorState | Error;
let tags: Record<string, string> | Error;
let routes: Routes;
let siblings: string[] | Error;
let sent: string[];
let keys: string[];
let counted: string[];
let warned: string[];

beforeEach(() => {
  prior = 'unknown';
  tags = { 'hearth:severity': 'error' };
  routes = new Map([['default', 'key']]);
  siblings = [];
  sent = [];
  keys = [];
  counted = [];
  warned = [];
});

const deps: AlarmDeps = {
  alarms: {
    async get() {
      const [shown] = observations;
      if (observations.length > 1) observations.shift();
      if (shown instanceof Error) throw shown;
      return shown;
    },
    async priorState() {
      if (prior instanceof Error) throw prior;
      return prior;
    },
    async tags() {
      if (tags instanceof Error) throw tags;
      return tags;
    },
    async inAlarm(names) {
      if (siblings instanceof Error) throw siblings;
      return siblings.filter((name) => name.startsWith(names));
    },
  },
  pager: {
    async send(event) {
      sent.push(event.event_action);
      keys.push(event.dedup_key);
    },
  },
  routing: { get: async () => routes, refresh: () => {} },
  metrics: { add: (metric) => void counted.push(metric) },
  logger: { warn: (message) => void warned.push(message) },
  seriesResolves: new Map(),
  prefix: 'aw',
  clock: { now: () => NOW },
};

const throttled = Object.assign(new Error('Rate exceeded'), { name: 'ThrottlingException' });
const forbidden = Object.assign(new Error('no'), { name: 'AccessDenied' });

describe('an event and the present alarm', () => {
  test.each([
    ['ALARM', alarm('ALARM'), ['trigger']],
    ['OK', alarm('OK'), ['resolve']],
    ['ALARM', alarm('OK', { since: ago(1) }), ['resolve']],
    ['OK', alarm('ALARM', { since: ago(1) }), ['trigger']],
    ['INSUFFICIENT_DATA', alarm('ALARM', { since: ago(1) }), ['trigger']],
    ['deleted', undefined, ['resolve']],
    ['deleted', alarm('ALARM', { since: ago(1) }), ['trigger']],
  ] as const)('%s', async (reported, now, expected) => {
    observations = [now];
    expect(await reconcileAlarm(hint(reported), 1, deps)).toEqual({
      outcome: 'done',
      detail: { sent: expected[0] },
    });
    expect(sent).toEqual(expected);
    expect(counted).toEqual(expected[0] === 'trigger' ? ['IncidentsSent'] : []);
  });

  test('missing data alone changes nothing', async () => {
    observations = [alarm('INSUFFICIENT_DATA')];
    const outcome = { outcome: 'skipped', reason: 'insufficient-data' };
    expect(await reconcileAlarm(hint('INSUFFICIENT_DATA'), 1, deps)).toEqual(outcome);
    expect(sent).toEqual([]);
  });

  test('a muted alarm does not page', async () => {
    observations = [alarm('ALARM', { suppression: { kind: 'muted' } })];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toEqual({ outcome: 'skipped', reason: 'muted' });
  });

  test.each([
    ['ALARM', 'ALARM', ['trigger']],
    ['ALARM', 'OK', ['resolve']],
    ['OK', 'ALARM', ['trigger']],
    ['OK', 'OK', ['resolve']],
  ] as const)('%s, followed by missing data: the history decides, %s', async (reported, was, expected) => {
    observations = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
    prior = was;
    await reconcileAlarm(hint(reported), 1, deps);
    expect(sent).toEqual(expected);
  });

  test.each([
    ['ALARM', { outcome: 'skipped', reason: 'insufficient-data' }],
    ['OK', { outcome: 'done', detail: { sent: 'resolve' } }],
  ] as const)(
    '%s, followed by missing data, without permission to read the history',
    async (reported, outcome) => {
      observations = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
      prior = forbidden;
      expect(await reconcileAlarm(hint(reported), 1, deps)).toEqual(outcome);
      expect(new Set(warned)).toEqual(new Set(['the history of the alarm is not readable']));
    },
  );

  test('a history that is throttled is retried', async () => {
    observations = [alarm('INSUFFICIENT_DATA', { since: ago(1) })];
    prior = throttled;
    await expect(reconcileAlarm(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
  });
});

describe('an alarm that changes while it is handled', () => {
  test('is sent again', async () => {
    observations = [alarm('ALARM'), alarm('OK', { since: ago(0) })];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toMatchObject({ detail: { sent: 'resolve' } });
    expect(sent).toEqual(['trigger', 'resolve']);
  });

  test('without end is retried', async () => {
    const flapping = [0, 1, 2, 3].map((index) => alarm(index % 2 ? 'OK' : 'ALARM'));
    observations = flapping;
    await expect(reconcileAlarm(hint('ALARM', 600), 1, deps)).rejects.toMatchObject({
      reason: 'alarm-flapping',
    });
    expect(sent).toHaveLength(4);
  });
});

describe('an observation that is behind a fresh event', () => {
  test.each([
    ['ALARM', alarm('OK', { since: ago(100) })],
    ['OK', alarm('ALARM', { since: ago(100) })],
    ['ALARM', undefined],
    ['deleted', alarm('ALARM', { since: ago(100) })],
  ] as const)('is not trusted: %s', async (reported, now) => {
    observations = [now];
    await expect(reconcileAlarm(hint(reported), 1, deps)).rejects.toMatchObject({
      reason: 'event-ahead',
      afterSeconds: 5,
    });
    expect(sent).toEqual([]);
  });

  test('is trusted when the event is a minute old', async () => {
    observations = [alarm('OK', { since: ago(1000) })];
    await reconcileAlarm(hint('ALARM', 61), 9, deps);
    expect(sent).toEqual(['resolve']);
  });
});

describe('an alarm that cannot be read', () => {
  test('pages from its fresh event, once, and the record stays', async () => {
    observations = [throttled];
    await expect(reconcileAlarm(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    await expect(reconcileAlarm(hint('ALARM'), 2, deps)).rejects.toBe(throttled);
    expect(sent).toEqual(['trigger']);
    expect(counted).toEqual(['IncidentsSent']);
  });

  test.each([
    ['that recovered', hint('OK')],
    ['that is muted', hint('ALARM', 5, { suppression: { kind: 'muted' } })],
    ['of a while ago', hint('ALARM', 90)],
  ])('does not page from an event %s', async (_, event) => {
    observations = [forbidden];
    await expect(reconcileAlarm(event, 1, deps)).rejects.toBe(forbidden);
    expect(sent).toEqual([]);
  });

  test('does not page a second time', async () => {
    observations = [alarm('OK', { since: ago(1) }), throttled];
    await expect(reconcileAlarm(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual(['resolve']);
  });
});

describe('an alarm that the deployment did not create', () => {
  const skipped = { outcome: 'skipped', reason: 'foreign-alarm', detail: { alarm: 'aw-x' } };

  test.each([
    ['no tags', {}],
    ['tags of others', { team: 'x', 'hearth-deployment': 'aw', severity: 'critical' }],
  ])('with %s does not page, whatever its description is', async (_, present) => {
    tags = present;
    observations = [alarm('ALARM', { description: 'severity: critical\nrunbook: https://evil.example/x' })];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toEqual(skipped);
    observations = [undefined];
    expect(await reconcileAlarm(hint('ALARM', 61), 2, deps)).toEqual(skipped);
    observations = [throttled];
    await expect(reconcileAlarm(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual([]);
    expect(counted).toEqual([]);
  });

  test('cannot be told from others while tags are not readable: it pages', async () => {
    tags = forbidden;
    observations = [alarm('ALARM')];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toMatchObject({ detail: { sent: 'trigger' } });
    tags = throttled;
    observations = [throttled];
    await expect(reconcileAlarm(hint('ALARM'), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual(['trigger', 'trigger']);
  });
});

test('without a routing key the page is logged and counted, and nothing fails', async () => {
  routes = new Map();
  observations = [alarm('ALARM')];
  expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toEqual({
    outcome: 'skipped',
    reason: 'no-routing-key',
    detail: { alarm: 'aw-x' },
  });
  expect(counted).toEqual(['IncidentsUnsent']);
  expect(warned).toHaveLength(1);
});

describe('an alarm that CloudWatch does not return', () => {
  test('pages if nothing shows that it is deleted: its type may be unknown', async () => {
    observations = [undefined];
    for (const known of ['unknown', 'none', forbidden] as const) {
      prior = known;
      expect(await reconcileAlarm(hint('ALARM', 61), 2, deps)).toEqual({
        outcome: 'done',
        detail: { sent: 'trigger' },
      });
    }
    expect(new Set(sent)).toEqual(new Set(['trigger']));
  });

  test('is resolved if its history shows that it is deleted', async () => {
    observations = [undefined];
    prior = 'deleted';
    await reconcileAlarm(hint('ALARM', 61), 2, deps);
    expect(sent).toEqual(['resolve']);
  });

  test('is not resolved after its event paged', async () => {
    observations = [throttled, undefined];
    await expect(reconcileAlarm(hint('ALARM', 5), 1, deps)).rejects.toBe(throttled);
    await reconcileAlarm(hint('ALARM', 61), 2, deps);
    expect(sent).toEqual(['trigger', 'trigger']);
  });
});

describe('an alarm whose actions are suppressed for a period', () => {
  const held = (until: Date | undefined) => alarm('ALARM', { suppression: { kind: 'held', until } });

  test('is held until the end of the period', async () => {
    observations = [held(new Date(NOW.getTime() + 115_000))];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toMatchObject({
      outcome: 'retry',
      reason: 'actions-suppressed',
      afterSeconds: 115,
    });
    observations = [alarm('ALARM')];
    await reconcileAlarm(hint('ALARM', 120), 2, deps);
    expect(sent).toEqual(['trigger']);
  });

  test('is held and observed again where the end is unknown', async () => {
    observations = [held(undefined)];
    expect(await reconcileAlarm(hint('ALARM'), 1, deps)).toMatchObject({
      outcome: 'retry',
      afterSeconds: 30,
    });
    expect(sent).toEqual([]);
  });

  test('that outlasts its period gets the back-off of the inbox and keeps within the receive limit', async () => {
    observations = [held(ago(1))];
    const outcome = await reconcileAlarm(hint('ALARM', 120), 2, deps);
    expect(outcome).toMatchObject({ outcome: 'retry', reason: 'actions-suppressed' });
    expect(outcome).not.toHaveProperty('afterSeconds');
    expect(sent).toEqual([]);
  });

  test('that recovers meanwhile is resolved', async () => {
    observations = [alarm('OK')];
    await reconcileAlarm(hint('ALARM', 120), 2, deps);
    expect(sent).toEqual(['resolve']);
  });

  test('does not page from its event when CloudWatch cannot be read', async () => {
    observations = [throttled];
    const suppression = { kind: 'held', until: undefined } as const;
    await expect(reconcileAlarm(hint('ALARM', 5, { suppression }), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual([]);
  });
});

describe('an alarm in a mute window', () => {
  const muted = (seconds: number) => ({
    ...hint('ALARM'),
    mutedUntil: new Date(NOW.getTime() + seconds * 1000),
  });

  test('is held until the end of the window, at most 11 hours per receive', async () => {
    observations = [alarm('ALARM')];
    expect(await reconcileAlarm(muted(3_600), 1, deps)).toMatchObject({
      outcome: 'retry',
      afterSeconds: 3_600,
    });
    expect(await reconcileAlarm(muted(86_400), 1, deps)).toMatchObject({ afterSeconds: 39_600 });
    expect(sent).toEqual([]);
  });

  test('pages at its end if it is still in alarm', async () => {
    observations = [alarm('ALARM')];
    await reconcileAlarm(muted(-1), 2, deps);
    expect(sent).toEqual(['trigger']);
  });

  test('does not page from its event when CloudWatch cannot be read', async () => {
    observations = [throttled];
    await expect(reconcileAlarm(muted(3_600), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual([]);
  });

  test('that is longer than SQS keeps a message is skipped', async () => {
    observations = [alarm('ALARM')];
    expect(await reconcileAlarm(muted(14 * 86_400), 1, deps)).toMatchObject({
      outcome: 'skipped',
      reason: 'muted',
    });
  });
});

describe('many alarms of one kind', () => {
  const ARN = 'arn:aws:cloudwatch:us-west-2:210987654321:alarm:';
  const name = 'aw-old-jobs-gha-default';
  const series = `${ARN}aw-old-jobs-*`;
  const event = (reportedState: ReportedState): AlarmEvent => ({
    ...hint(reportedState, 5),
    ...{ name, arn: `${ARN}${name}`, group: 'gha/default' },
  });
  const one = (state: Alarm['state']) => alarm(state, { name, dimensions: { Group: 'gha/default' } });
  const others = (count: number) => Array.from({ length: count }, (_, n) => `aw-old-jobs-bk-g${n}`);

  test('up to ten have an incident each', async () => {
    observations = [one('ALARM')];
    siblings = [name, ...others(9), 'aw-slow-boots-gha-default'];
    await reconcileAlarm(event('ALARM'), 1, deps);
    expect(keys).toEqual([`${ARN}${name}`]);
  });

  test('more than ten have one incident together', async () => {
    observations = [one('ALARM')];
    siblings = [name, ...others(10)];
    await reconcileAlarm(event('ALARM'), 1, deps);
    expect(keys).toEqual([series]);
    expect(counted).toEqual(['IncidentsSent']);
  });

  test('a runner group with a route of its own has its own incident', async () => {
    observations = [one('ALARM')];
    siblings = [name, ...others(300)];
    routes = new Map([...routes, ['gha/default', 'the key of its team']]);
    await reconcileAlarm(event('ALARM'), 1, deps);
    expect(keys).toEqual([`${ARN}${name}`]);
  });

  test('the last one that recovers resolves the common incident, and each one its own', async () => {
    observations = [one('OK')];
    siblings = others(1);
    await reconcileAlarm(event('OK'), 1, deps);
    expect(keys).toEqual([`${ARN}${name}`]);
    siblings = [];
    await reconcileAlarm(event('OK'), 1, deps);
    expect(keys.slice(1)).toEqual([`${ARN}${name}`, series]);
    expect(new Set(sent)).toEqual(new Set(['resolve']));
  });

  test('records of one batch that all find the end of the series send one resolve for it', async () => {
    observations = [one('OK')];
    const records = [1, 2, 3].map(() => reconcileAlarm(event('OK'), 1, deps));
    await Promise.all(records);
    expect(keys.filter((key) => key === series)).toHaveLength(1);
    await reconcileAlarm(event('OK'), 1, deps);
    expect(keys.filter((key) => key === series)).toHaveLength(2);
  });

  test('a deleted alarm that was the last one resolves the common incident', async () => {
    observations = [undefined];
    // CloudWatch can still list it.
    siblings = [name];
    await reconcileAlarm(event('deleted'), 1, deps);
    expect(keys).toEqual([`${ARN}${name}`, series]);
  });

  test('a list that cannot be read is read again', async () => {
    observations = [one('ALARM')];
    siblings = throttled;
    await expect(reconcileAlarm(event('ALARM'), 1, deps)).rejects.toBe(throttled);
    expect(sent).toEqual([]);
  });
});
