import {
  CloudWatchClient,
  DeleteAlarmsCommand,
  DescribeAlarmHistoryCommand,
  DescribeAlarmsCommand,
  GetMetricStatisticsCommand,
  ListMetricsCommand,
  ListTagsForResourceCommand,
  PutDashboardCommand,
  PutMetricAlarmCommand,
  type PutMetricAlarmCommandInput,
  PutMetricDataCommand,
  paginateDescribeAlarms,
  ResourceNotFound,
  SetAlarmStateCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from '@aws-sdk/client-cloudwatch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OutgoingEvent } from '../service.ts';
import { type Served, serve } from '../testing/serve.ts';
import { simulatedTimers } from '../timers.ts';
import { type CloudWatch, createCloudWatch } from './service.ts';

const START = Date.parse('2026-05-14T16:20:00Z');
const ARN = 'arn:aws:cloudwatch:us-west-2:210987654321:alarm:aw-launch-failures';

let timers: ReturnType<typeof simulatedTimers>;
let events: OutgoingEvent[];
let problems: unknown[];
let cloudWatch: CloudWatch;
let served: Served;
let client: CloudWatchClient;

beforeEach(async () => {
  timers = simulatedTimers(START);
  [events, problems] = [[], []];
  cloudWatch = createCloudWatch({
    home: { account: '210987654321', region: 'us-west-2' },
    timers,
    publish: async (event) => void events.push(event),
    onError: (error) => problems.push(error),
  });
  served = await serve(cloudWatch);
  client = new CloudWatchClient({ ...served.client, maxAttempts: 1 });
});

afterEach(async () => {
  client.destroy();
  cloudWatch.stop();
  await served.close();
  expect(problems).toEqual([]);
});

const putAlarm = (change: Partial<PutMetricAlarmCommandInput> = {}) =>
  client.send(
    new PutMetricAlarmCommand({
      AlarmName: 'aw-launch-failures',
      AlarmDescription: 'Runners do not start',
      Namespace: 'Hearth',
      MetricName: 'LaunchFailures',
      Dimensions: [{ Name: 'Group', Value: 'gha/default' }],
      Statistic: 'Sum',
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
      Tags: [{ Key: 'severity', Value: 'critical' }],
      ...change,
    }),
  );

const put = (value: number, group = 'gha/default') =>
  client.send(
    new PutMetricDataCommand({
      Namespace: 'Hearth',
      MetricData: [
        {
          MetricName: 'LaunchFailures',
          Dimensions: [{ Name: 'Group', Value: group }],
          Value: value,
          Timestamp: new Date(timers.now()),
        },
      ],
    }),
  );

async function alarm() {
  const { MetricAlarms } = await client.send(
    new DescribeAlarmsCommand({
      AlarmNames: ['aw-launch-failures'],
      AlarmTypes: ['MetricAlarm', 'CompositeAlarm'],
    }),
  );
  return MetricAlarms?.[0];
}

async function changes() {
  await cloudWatch.settled();
  return events.filter((event) => event.detailType === 'CloudWatch Alarm State Change');
}

describe('CloudWatch over its own client', () => {
  it('distinguishes alarms by dimensions and time, with the messages of AWS', async () => {
    await putAlarm();
    await put(2, 'bk/default');
    timers.advance(60_000);
    expect(await alarm()).toMatchObject({ StateValue: 'OK', AlarmArn: ARN });
    await put(2);
    timers.advance(60_000);
    expect(await alarm()).toMatchObject({
      StateValue: 'ALARM',
      StateTransitionedTimestamp: new Date(START + 120_000),
    });
    const [first, second] = await changes();
    expect(first?.detail).toMatchObject({
      previousState: { value: 'INSUFFICIENT_DATA', reason: 'Unchecked: Initial alarm creation' },
      state: { value: 'OK' },
    });
    expect(first?.detail.previousState).not.toHaveProperty('reasonData');
    expect(second).toEqual({
      source: 'aws.cloudwatch',
      detailType: 'CloudWatch Alarm State Change',
      resources: [ARN],
      time: new Date(START + 120_000),
      detail: {
        alarmName: 'aw-launch-failures',
        configuration: {
          description: 'Runners do not start',
          metrics: [
            {
              id: expect.any(String),
              metricStat: {
                metric: { namespace: 'Hearth', name: 'LaunchFailures', dimensions: { Group: 'gha/default' } },
                period: 60,
                stat: 'Sum',
              },
              returnData: true,
            },
          ],
        },
        previousState: expect.objectContaining({ value: 'OK' }),
        state: {
          value: 'ALARM',
          reason:
            'Threshold Crossed: 1 out of the last 1 datapoints [2.0 (14/05/26 16:21:00)] was greater than or equal to the threshold (1.0) (minimum 1 datapoint for OK -> ALARM transition).',
          reasonData: expect.any(String),
          timestamp: '2026-05-14T16:22:00.000+0000',
        },
      },
    });
    expect(JSON.parse(String(Object(second?.detail.state).reasonData))).toMatchObject({
      statistic: 'Sum',
      period: 60,
      recentDatapoints: [2],
      threshold: 1,
    });
    timers.advance(240_000);
    expect((await changes()).at(-1)?.detail.state).toMatchObject({ value: 'OK' });
  });

  it('takes measurements from the logs of the functions', async () => {
    await putAlarm();
    const metrics = [{ Name: 'LaunchFailures', Unit: 'Count' }];
    const directive = { Namespace: 'Hearth', Dimensions: [['Group']], Metrics: metrics };
    const _aws = { Timestamp: timers.now(), CloudWatchMetrics: [directive] };
    expect(cloudWatch.ingest(JSON.stringify({ _aws, Group: 'gha/default', LaunchFailures: 1 }))).toBe(1);
    expect(cloudWatch.ingest('{"message":"record handled"}')).toBe(0);
    timers.advance(60_000);
    expect(await alarm()).toMatchObject({ StateValue: 'ALARM' });
    const { Datapoints } = await client.send(
      new GetMetricStatisticsCommand({
        Namespace: 'Hearth',
        MetricName: 'LaunchFailures',
        Dimensions: [{ Name: 'Group', Value: 'gha/default' }],
        StartTime: new Date(START),
        EndTime: new Date(START + 60_000),
        Period: 60,
        Statistics: ['Sum', 'SampleCount'],
      }),
    );
    expect(Datapoints).toMatchObject([{ Timestamp: new Date(START), Sum: 1, SampleCount: 1, Unit: 'Count' }]);
    const { Metrics } = await client.send(
      new ListMetricsCommand({ Namespace: 'Hearth', Dimensions: [{ Name: 'Group' }] }),
    );
    expect(Metrics).toHaveLength(1);
  });

  it('sets a state by hand, and makes an event only of a change', async () => {
    await putAlarm();
    const set = (StateValue: 'ALARM' | 'OK', AlarmName = 'aw-launch-failures') =>
      client.send(
        new SetAlarmStateCommand({ AlarmName, StateValue, StateReason: 'by hand', StateReasonData: '{}' }),
      );
    await set('ALARM');
    await set('ALARM');
    expect(await alarm()).toMatchObject({ StateValue: 'ALARM', StateReason: 'by hand' });
    expect((await changes()).map((event) => event.detail.state)).toMatchObject([
      { value: 'ALARM', reasonData: '{}' },
    ]);
    await expect(set('OK', 'other')).rejects.toBeInstanceOf(ResourceNotFound);
    timers.advance(60_000);
    expect(await alarm()).toMatchObject({ StateValue: 'OK' });
  });

  it('publishes changes of the alarms', async () => {
    await putAlarm();
    await putAlarm({ Threshold: 3 });
    await client.send(new DeleteAlarmsCommand({ AlarmNames: ['aw-launch-failures', 'never-was'] }));
    await cloudWatch.settled();
    expect(events.map((event) => event.detail.operation)).toEqual(['create', 'update', 'delete']);
    expect(events[1]).toMatchObject({
      detailType: 'CloudWatch Alarm Configuration Change',
      detail: {
        state: { value: 'INSUFFICIENT_DATA', timestamp: '2026-05-14T16:20:00.000+0000' },
        configuration: { threshold: 3, treatMissingData: 'notBreaching', evaluationPeriods: 1 },
        previousConfiguration: { threshold: 1 },
      },
    });
    expect(await alarm()).toBeUndefined();
  });

  it('keeps the tags of an alarm', async () => {
    await putAlarm();
    await client.send(
      new TagResourceCommand({ ResourceARN: ARN, Tags: [{ Key: 'runbook', Value: 'https://r' }] }),
    );
    await client.send(new UntagResourceCommand({ ResourceARN: ARN, TagKeys: ['severity'] }));
    const { Tags } = await client.send(new ListTagsForResourceCommand({ ResourceARN: ARN }));
    expect(Tags).toEqual([{ Key: 'runbook', Value: 'https://r' }]);
    const unknown = client.send(new ListTagsForResourceCommand({ ResourceARN: `${ARN}-2` }));
    await expect(unknown).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  });

  it('filters and pages', async () => {
    for (const AlarmName of ['a-1', 'a-2', 'a-3', 'b-1']) await putAlarm({ AlarmName });
    const names: (string | undefined)[] = [];
    for await (const { MetricAlarms } of paginateDescribeAlarms(
      { client, pageSize: 2 },
      { AlarmNamePrefix: 'a-' },
    )) {
      names.push(...(MetricAlarms ?? []).map((found) => found.AlarmName));
    }
    expect(names).toEqual(['a-1', 'a-2', 'a-3']);
    const inAlarm = await client.send(new DescribeAlarmsCommand({ StateValue: 'ALARM' }));
    expect(inAlarm.MetricAlarms).toEqual([]);
  });

  it('reads large requests, which clients compress', async () => {
    const MetricData = Array.from({ length: 500 }, (_, index) => ({
      MetricName: 'LaunchFailures',
      Dimensions: [{ Name: 'Group', Value: `gha/group-${index}` }],
      Values: [1, 2],
      Counts: [3, 1],
      Timestamp: new Date(START),
    }));
    await client.send(new PutMetricDataCommand({ Namespace: 'Hearth', MetricData }));
    const metric = { namespace: 'Hearth', name: 'LaunchFailures', dimensions: { Group: 'gha/group-499' } };
    expect(cloudWatch.samples.between(metric, START, START + 1)).toMatchObject([{ count: 4, sum: 5 }]);
  });

  it('refuses what it cannot judge, instead of never alarming', async () => {
    await expect(putAlarm({ Threshold: Number.NaN })).rejects.toThrow(/Threshold/);
    await expect(putAlarm({ Statistic: undefined })).rejects.toThrow('Statistic or ExtendedStatistic');
    await expect(putAlarm({ Metrics: [{ Id: 'm', Expression: 'a+b' }] })).rejects.toThrow('not emulated');
    const dashboard = client.send(new PutDashboardCommand({ DashboardName: 'd', DashboardBody: '{}' }));
    await expect(dashboard).rejects.toMatchObject({ name: 'InvalidAction' });
  });
});

describe('history', () => {
  const setState = (StateValue: 'OK' | 'ALARM') =>
    client.send(
      new SetAlarmStateCommand({ AlarmName: 'aw-launch-failures', StateValue, StateReason: 'test' }),
    );
  const history = (input: object = {}) =>
    client.send(new DescribeAlarmHistoryCommand({ AlarmName: 'aw-launch-failures', ...input }));

  it('lists transitions and changes, latest first, also of a deleted alarm', async () => {
    await putAlarm();
    await setState('OK');
    await setState('ALARM');
    await client.send(new DeleteAlarmsCommand({ AlarmNames: ['aw-launch-failures'] }));
    const { AlarmHistoryItems = [] } = await history();
    expect(AlarmHistoryItems.map((item) => item.HistorySummary)).toEqual([
      'Alarm "aw-launch-failures" deleted',
      'Alarm updated from OK to ALARM',
      'Alarm updated from INSUFFICIENT_DATA to OK',
      'Alarm "aw-launch-failures" created',
    ]);
    expect(JSON.parse(AlarmHistoryItems[1]?.HistoryData ?? '')).toMatchObject({
      oldState: { stateValue: 'OK' },
      newState: { stateValue: 'ALARM', stateReason: 'test' },
    });
    expect(AlarmHistoryItems[0]?.Timestamp).toEqual(new Date(START));
  });

  it('comes in pages, of one type, in either order, and of one alarm alone', async () => {
    await putAlarm();
    await setState('OK');
    await setState('ALARM');
    const first = await history({ MaxRecords: 2 });
    expect(first.AlarmHistoryItems).toHaveLength(2);
    expect((await history({ NextToken: first.NextToken })).AlarmHistoryItems).toHaveLength(1);
    const updates = await history({ HistoryItemType: 'StateUpdate', ScanBy: 'TimestampAscending' });
    expect(updates.AlarmHistoryItems?.map((item) => item.HistorySummary)).toEqual([
      'Alarm updated from INSUFFICIENT_DATA to OK',
      'Alarm updated from OK to ALARM',
    ]);
    expect((await history({ AlarmName: 'aw-other' })).AlarmHistoryItems).toEqual([]);
  });
});
