import { describe, expect, test } from 'vitest';
import type { Alarm } from './alarm.ts';
import type { AlarmEvent } from './alarm-event.ts';
import { decideAction, decideWithoutAlarm, isBehind, NO_DATA } from './desired-action.ts';

const at = (second: number) => new Date(Date.UTC(2026, 10, 23, 3, 0, second));

const alarm = (state: Alarm['state'], change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-x',
  arn: 'arn:x',
  state,
  reason: '',
  since: at(10),
  description: '',
  suppression: { kind: 'none' },
  metric: undefined,
  dimensions: {},
  ...change,
});

const now = at(30);

describe('the action for an alarm', () => {
  test.each([
    ['in alarm', alarm('ALARM'), 'unknown', 'trigger'],
    ['recovered', alarm('OK'), 'unknown', 'resolve'],
    ['recovered while muted', alarm('OK', { suppression: { kind: 'muted' } }), 'unknown', 'resolve'],
    ['without data, after an alarm', alarm('INSUFFICIENT_DATA'), 'ALARM', 'trigger'],
    ['without data, after a recovery', alarm('INSUFFICIENT_DATA'), 'OK', 'resolve'],
    ['created again and without data', alarm('INSUFFICIENT_DATA'), 'none', 'resolve'],
    ['without data and with an unknown past', alarm('INSUFFICIENT_DATA'), 'unknown', 'nothing'],
    ['in alarm and muted', alarm('ALARM', { suppression: { kind: 'muted' } }), 'unknown', 'nothing'],
    [
      'in alarm and held',
      alarm('ALARM', { suppression: { kind: 'held', until: undefined } }),
      'unknown',
      'hold',
    ],
  ] as const)('%s', (_, present, prior, action) => {
    expect(decideAction(present, prior, { now }).action).toBe(action);
  });

  test('an unknown past of missing data has its own reason', () => {
    expect(decideAction(alarm('INSUFFICIENT_DATA'), 'unknown', { now })).toBe(NO_DATA);
  });

  test('a mute window holds a trigger until its end, and nothing else', () => {
    const open = { now, mutedUntil: at(40) };
    expect(decideAction(alarm('ALARM'), 'unknown', open)).toEqual({ action: 'hold', until: at(40) });
    expect(decideAction(alarm('OK'), 'unknown', open).action).toBe('resolve');
    expect(decideAction(alarm('ALARM'), 'unknown', { now, mutedUntil: at(20) }).action).toBe('trigger');
  });
});

describe('the action for an alarm that CloudWatch does not return', () => {
  const common = { name: 'aw-x', arn: 'arn:x', group: undefined, at: at(1) };
  test.each([
    [{ ...common, reportedState: 'deleted' }, 'unknown', 'resolve'],
    [{ ...common, reportedState: 'OK' }, 'unknown', 'resolve'],
    [{ ...common, reportedState: 'INSUFFICIENT_DATA' }, 'unknown', 'nothing'],
    [{ ...common, reportedState: 'ALARM', snapshot: alarm('ALARM') }, 'unknown', 'trigger'],
    [{ ...common, reportedState: 'ALARM', snapshot: alarm('ALARM') }, 'ALARM', 'trigger'],
    [{ ...common, reportedState: 'ALARM', snapshot: alarm('ALARM') }, 'OK', 'resolve'],
    [{ ...common, reportedState: 'ALARM', snapshot: alarm('ALARM') }, 'deleted', 'resolve'],
  ] as const)('%o, %s: %s', (event, prior, action) => {
    expect(decideWithoutAlarm(event, prior, now).action).toBe(action);
  });
});

describe('an observation is behind its event', () => {
  const hint = (reportedState: 'OK' | 'INSUFFICIENT_DATA' | 'deleted', second: number): AlarmEvent => ({
    name: 'aw-x',
    arn: 'arn:x',
    group: undefined,
    at: at(second),
    reportedState,
  });

  test.each([
    ['an older state', hint('OK', 11), alarm('ALARM'), true],
    ['no alarm yet', hint('OK', 11), undefined, true],
    ['an alarm that is deleted', hint('deleted', 11), alarm('ALARM'), true],
    ['the same state', hint('OK', 11), alarm('OK'), false],
    ['a newer state', hint('OK', 9), alarm('ALARM'), false],
    ['a state of unknown age', hint('OK', 11), alarm('ALARM', { since: undefined }), false],
    ['an alarm that is created again', hint('deleted', 9), alarm('INSUFFICIENT_DATA'), false],
    ['no alarm any more', hint('deleted', 11), undefined, false],
  ])('%s', (_, event, now, expected) => {
    expect(isBehind(event, now)).toBe(expected);
  });
});
