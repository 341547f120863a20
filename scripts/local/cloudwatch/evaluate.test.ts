import { describe, expect, it } from 'vitest';
import type { MetricAlarmSettings } from './alarm.ts';
import { judge } from './evaluate.ts';

function settings(change: Partial<MetricAlarmSettings>): MetricAlarmSettings {
  return {
    AlarmName: 'aw-x',
    ActionsEnabled: true,
    OKActions: [],
    AlarmActions: [],
    InsufficientDataActions: [],
    Namespace: 'Hearth',
    MetricName: 'LaunchFailures',
    Dimensions: [],
    Statistic: 'Sum',
    Period: 60,
    EvaluationPeriods: 3,
    Threshold: 1,
    ComparisonOperator: 'GreaterThanOrEqualToThreshold',
    TreatMissingData: 'missing',
    ...change,
  };
}

/** `0` does not breach, `X` does, `-` is missing; oldest first. */
function points(text: string) {
  return [...text.replaceAll(' ', '')].map((letter, index) => ({
    start: index * 60_000,
    value: letter === '-' ? undefined : letter === 'X' ? 5 : 0,
  }));
}

const treatments = ['missing', 'ignore', 'breaching', 'notBreaching'] as const;

function verdicts(text: string, change: Partial<MetricAlarmSettings>) {
  return treatments.map(
    (TreatMissingData) => judge(settings({ ...change, TreatMissingData }), points(text))?.value ?? 'retained',
  );
}

describe('judge', () => {
  // The tables of the CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data".
  it.each([
    ['0 - X - X', ['OK', 'OK', 'OK', 'OK']],
    ['0 - - - -', ['OK', 'OK', 'OK', 'OK']],
    ['- - - - -', ['INSUFFICIENT_DATA', 'retained', 'ALARM', 'OK']],
    ['0 X X - X', ['ALARM', 'ALARM', 'ALARM', 'ALARM']],
    ['- - X - -', ['ALARM', 'retained', 'ALARM', 'OK']],
  ])('treats %s as documented when three of three must breach', (text, expected) => {
    expect(verdicts(text, {})).toEqual(expected);
  });

  it.each([
    ['0 - X - X', ['ALARM', 'ALARM', 'ALARM', 'ALARM']],
    ['0 0 X 0 X', ['ALARM', 'ALARM', 'ALARM', 'ALARM']],
    ['0 - X - -', ['OK', 'OK', 'ALARM', 'OK']],
    ['- - - - 0', ['OK', 'OK', 'ALARM', 'OK']],
    ['- - - - X', ['ALARM', 'retained', 'ALARM', 'OK']],
  ])('treats %s as documented when two of three must breach', (text, expected) => {
    expect(verdicts(text, { DatapointsToAlarm: 2 })).toEqual(expected);
  });

  it.each([
    ['GreaterThanOrEqualToThreshold', [false, true, true]],
    ['GreaterThanThreshold', [false, false, true]],
    ['LessThanThreshold', [true, false, false]],
    ['LessThanOrEqualToThreshold', [true, true, false]],
  ] as const)('compares with %s', (ComparisonOperator, expected) => {
    const found = [0, 1, 2].map((value) => {
      const single = settings({ ComparisonOperator, EvaluationPeriods: 1 });
      return judge(single, [{ start: 0, value }])?.value === 'ALARM';
    });
    expect(found).toEqual(expected);
  });
});
