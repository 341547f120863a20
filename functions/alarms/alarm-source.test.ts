import type { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { expect, test } from 'vitest';
import { cloudWatchAlarms } from './alarm-source.ts';

/** A client that answers each operation with what is given, and keeps what it was asked. */
function clientThatSays(answers: Record<string, object>) {
  const asked: object[] = [];
  const client = {
    async send(command: { constructor: { name: string }; input: object }) {
      asked.push(command.input);
      return answers[command.constructor.name];
    },
  };
  return { alarms: cloudWatchAlarms(client as unknown as Pick<CloudWatchClient, 'send'>), asked };
}

const since = new Date('2026-11-23T03:00:00Z');

test('a metric alarm, by its name alone, of whichever kind', async () => {
  const { alarms, asked } = clientThatSays({
    DescribeAlarmsCommand: {
      MetricAlarms: [
        {
          AlarmArn: 'arn:x',
          StateValue: 'ALARM',
          StateReason: 'because',
          StateTransitionedTimestamp: since,
          StateUpdatedTimestamp: new Date(0),
          MetricName: 'LaunchFailures',
          Dimensions: [{ Name: 'Group', Value: 'gha/default' }],
          AlarmDescription: 'severity: critical',
        },
      ],
      CompositeAlarms: [],
    },
  });
  expect(await alarms.look('aw-x')).toEqual({
    name: 'aw-x',
    arn: 'arn:x',
    state: 'ALARM',
    reason: 'because',
    since,
    description: 'severity: critical',
    muted: false,
    metric: 'LaunchFailures',
    dimensions: { Group: 'gha/default' },
  });
  expect(asked).toEqual([{ AlarmNames: ['aw-x'], AlarmTypes: ['MetricAlarm', 'CompositeAlarm'] }]);
});

test('an alarm on an expression is about the first metric in it', async () => {
  const metric = { MetricName: 'Errors', Dimensions: [{ Name: 'FunctionName', Value: 'aw_alarms' }] };
  const { alarms } = clientThatSays({
    DescribeAlarmsCommand: {
      MetricAlarms: [
        { StateValue: 'OK', Metrics: [{ Expression: 'a/b' }, { MetricStat: { Metric: metric } }] },
      ],
    },
  });
  expect(await alarms.look('aw-x')).toMatchObject({
    metric: 'Errors',
    dimensions: { FunctionName: 'aw_alarms' },
  });
});

test.each([
  ['plain', {}, false],
  ['suppressed', { ActionsSuppressedBy: 'Alarm' }, true],
  ['muted', { ActionsEnabled: false }, true],
])('a composite alarm that is %s', async (_, change, muted) => {
  const { alarms } = clientThatSays({
    DescribeAlarmsCommand: { CompositeAlarms: [{ StateValue: 'ALARM', ...change }] },
  });
  expect(await alarms.look('aw-x')).toMatchObject({ state: 'ALARM', muted, metric: undefined });
});

test('no alarm of that name', async () => {
  expect(await clientThatSays({ DescribeAlarmsCommand: {} }).alarms.look('aw-x')).toBeUndefined();
});

test('what it was before, latest item first', async () => {
  const data = { oldState: { stateValue: 'ALARM' }, newState: { stateValue: 'INSUFFICIENT_DATA' } };
  const { alarms, asked } = clientThatSays({
    DescribeAlarmHistoryCommand: {
      AlarmHistoryItems: [{ HistoryItemType: 'StateUpdate', HistoryData: JSON.stringify(data) }],
    },
  });
  expect(await alarms.before('aw-x')).toBe('ALARM');
  expect(asked).toMatchObject([{ AlarmName: 'aw-x', ScanBy: 'TimestampDescending' }]);
});

test('its tags', async () => {
  const { alarms } = clientThatSays({
    ListTagsForResourceCommand: { Tags: [{ Key: 'hearth:severity', Value: 'critical' }] },
  });
  expect(await alarms.tags('arn:x')).toEqual({ 'hearth:severity': 'critical' });
});
