import { describe, expect, test } from 'vitest';
import type { AlarmHint } from './alarm-event.ts';
import type { Alarm } from './alarm-source.ts';
import { isBehind, NO_DATA, want } from './want.ts';

const at = (second: number) => new Date(Date.UTC(2026, 10, 23, 3, 0, second));

const alarm = (state: Alarm['state'], change: Partial<Alarm> = {}): Alarm => ({
  name: 'aw-x',
  arn: 'arn:x',
  state,
  reason: '',
  since: at(10),
  description: '',
  muted: false,
  metric: undefined,
  dimensions: {},
  ...change,
});

describe('what an alarm calls for', () => {
  test.each([
    ['in alarm', alarm('ALARM'), undefined, 'trigger'],
    ['recovered', alarm('OK'), undefined, 'resolve'],
    ['recovered while muted', alarm('OK', { muted: true }), undefined, 'resolve'],
    ['deleted', undefined, undefined, 'resolve'],
    ['without data, after an alarm', alarm('INSUFFICIENT_DATA'), 'ALARM', 'trigger'],
    ['without data, after it recovered', alarm('INSUFFICIENT_DATA'), 'OK', 'resolve'],
    ['made anew and not yet sure', alarm('INSUFFICIENT_DATA'), undefined, 'resolve'],
    ['without data, and nobody knows what before', alarm('INSUFFICIENT_DATA'), 'unknown', 'nothing'],
    ['in alarm and muted', alarm('ALARM', { muted: true }), undefined, 'nothing'],
  ] as const)('%s', (_, now, before, action) => {
    expect(want(now, before).action).toBe(action);
  });

  test('no data is a reason of its own', () => {
    expect(want(alarm('INSUFFICIENT_DATA'), 'unknown')).toBe(NO_DATA);
  });
});

describe('a look is behind its event', () => {
  const hint = (said: 'OK' | 'INSUFFICIENT_DATA' | 'deleted', second: number): AlarmHint => ({
    name: 'aw-x',
    arn: 'arn:x',
    at: at(second),
    said,
  });

  test.each([
    ['an older state', hint('OK', 11), alarm('ALARM'), true],
    ['no alarm yet', hint('OK', 11), undefined, true],
    ['an alarm that is deleted', hint('deleted', 11), alarm('ALARM'), true],
    ['the same state', hint('OK', 11), alarm('OK'), false],
    ['a newer state', hint('OK', 9), alarm('ALARM'), false],
    ['a state of unknown age', hint('OK', 11), alarm('ALARM', { since: undefined }), false],
    ['an alarm made anew', hint('deleted', 9), alarm('INSUFFICIENT_DATA'), false],
    ['no alarm any more', hint('deleted', 11), undefined, false],
  ])('%s', (_, event, now, expected) => {
    expect(isBehind(event, now)).toBe(expected);
  });
});
