import { AlarmType, type CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { expect, test } from 'vitest';
import { cloudWatchAlarms } from './cloudwatch-alarms.ts';

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
  expect(await alarms.get('aw-x')).toEqual({
    name: 'aw-x',
    arn: 'arn:x',
    state: 'ALARM',
    reason: 'because',
    since,
    description: 'severity: critical',
    suppression: { kind: 'none' },
    metric: 'LaunchFailures',
    dimensions: { Group: 'gha/default' },
  });
  expect(asked).toEqual([{ AlarmNames: ['aw-x'], AlarmTypes: Object.values(AlarmType) }]);
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
  expect(await alarms.get('aw-x')).toMatchObject({
    metric: 'Errors',
    dimensions: { FunctionName: 'aw_alarms' },
  });
});

test.each([
  ['without suppression', {}, { kind: 'none' }],
  ['with a suppressor in alarm', { ActionsSuppressedBy: 'Alarm' }, { kind: 'muted' }],
  ['with disabled actions', { ActionsEnabled: false }, { kind: 'muted' }],
  [
    'in its wait period',
    {
      ActionsSuppressedBy: 'WaitPeriod',
      ActionsSuppressorWaitPeriod: 120,
      StateTransitionedTimestamp: since,
    },
    { kind: 'held', until: new Date(since.getTime() + 120_000) },
  ],
  ['in its extension period', { ActionsSuppressedBy: 'ExtensionPeriod' }, { kind: 'held', until: undefined }],
])('a composite alarm %s', async (_, change, suppression) => {
  const { alarms } = clientThatSays({
    DescribeAlarmsCommand: { CompositeAlarms: [{ StateValue: 'ALARM', ...change }] },
  });
  expect(await alarms.get('aw-x')).toMatchObject({ state: 'ALARM', suppression, metric: undefined });
});

test('an alarm of a type that the SDK does not know is read like any other', async () => {
  const { alarms } = clientThatSays({
    DescribeAlarmsCommand: {
      MetricAlarms: [],
      QuantumAlarms: [{ StateValue: 'ALARM', AlarmArn: 'arn:x', StateReason: 'because' }],
      $metadata: {},
    },
  });
  expect(await alarms.get('aw-x')).toMatchObject({ state: 'ALARM', arn: 'arn:x', metric: undefined });
});

test('a history without a definite state is read to its end, within bounds, and is unknown then', async () => {
  const item = { HistoryItemType: 'Action', HistoryData: '{}' };
  const { alarms, asked } = clientThatSays({
    DescribeAlarmHistoryCommand: { AlarmHistoryItems: Array(100).fill(item), NextToken: 'more' },
  });
  expect(await alarms.priorState('aw-x')).toBe('unknown');
  expect(asked).toHaveLength(5);
});

test('no alarm of that name', async () => {
  expect(await clientThatSays({ DescribeAlarmsCommand: {} }).alarms.get('aw-x')).toBeUndefined();
});

test('what it was before, latest item first', async () => {
  const data = { oldState: { stateValue: 'ALARM' }, newState: { stateValue: 'INSUFFICIENT_DATA' } };
  const { alarms, asked } = clientThatSays({
    DescribeAlarmHistoryCommand: {
      AlarmHistoryItems: [{ HistoryItemType: 'StateUpdate', HistoryData: JSON.stringify(data) }],
    },
  });
  expect(await alarms.priorState('aw-x')).toBe('ALARM');
  expect(asked).toMatchObject([{ AlarmName: 'aw-x', ScanBy: 'TimestampDescending' }]);
});

test('its tags', async () => {
  const { alarms } = clientThatSays({
    ListTagsForResourceCommand: { Tags: [{ Key: 'hearth:severity', Value: 'critical' }] },
  });
  expect(await alarms.tags('arn:x')).toEqual({ 'hearth:severity': 'critical' });
});

test('the alarms of a series in ALARM, from as many pages as it takes', async () => {
  const pages = [
    { MetricAlarms: [], NextToken: 'a' },
    { MetricAlarms: [{ AlarmName: 'aw-old-jobs-1' }], NextToken: 'b' },
    { MetricAlarms: [{ AlarmName: 'aw-old-jobs-2' }], NextToken: 'c' },
    { MetricAlarms: [{ AlarmName: 'aw-old-jobs-3' }] },
  ];
  const inputs: object[] = [];
  const client = {
    async send({ input }: { input: object }) {
      inputs.push(input);
      return pages[inputs.length - 1];
    },
  };
  const alarms = cloudWatchAlarms(client as unknown as Pick<CloudWatchClient, 'send'>);
  expect(await alarms.inAlarm('aw-old-jobs-', 2)).toEqual(['aw-old-jobs-1', 'aw-old-jobs-2']);
  const query = {
    AlarmNamePrefix: 'aw-old-jobs-',
    AlarmTypes: ['MetricAlarm'],
    StateValue: 'ALARM',
    MaxRecords: 100,
  };
  expect(inputs).toEqual([query, { ...query, NextToken: 'a' }, { ...query, NextToken: 'b' }]);
});
