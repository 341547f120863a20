import {
  type AlarmHistoryItem,
  AlarmType,
  type CloudWatchClient,
  type CompositeAlarm,
  DescribeAlarmHistoryCommand,
  DescribeAlarmsCommand,
  ListTagsForResourceCommand,
  type MetricAlarm,
} from '@aws-sdk/client-cloudwatch';
import type { Alarm, Suppression } from '../alarm.ts';
import type { AlarmReader } from '../ports.ts';
import { priorStateIn } from './alarm-history.ts';

/** Every type of alarm: CloudWatch returns only the types that a request names. */
const ALARM_TYPES = Object.values(AlarmType);

/** Items per page of an alarm's history, and most pages: a state update is among the first, beside actions and updates. */
const HISTORY_PAGE = 100;
const MAX_HISTORY_PAGES = 5;

/** Alarms per page of a list (the most that CloudWatch returns), and most pages: a page can be empty. */
const ALARM_PAGE = 100;
const MAX_ALARM_PAGES = 10;

/** The fields of a described alarm of any type. A type that is newer than the SDK has them too. */
type Described = Partial<Omit<MetricAlarm, '$metadata'>> &
  Pick<
    CompositeAlarm,
    'ActionsSuppressedBy' | 'ActionsSuppressorWaitPeriod' | 'ActionsSuppressorExtensionPeriod'
  >;

/** Alarms in CloudWatch. */
export function cloudWatchAlarms(client: Pick<CloudWatchClient, 'send'>): AlarmReader {
  return {
    async get(name) {
      const answer = await client.send(
        new DescribeAlarmsCommand({ AlarmNames: [name], AlarmTypes: ALARM_TYPES }),
      );
      // One list per type of alarm, and at most one alarm in all of them: a name is unique.
      const lists = Object.values(answer).filter((value) => Array.isArray(value));
      const [described] = lists.flat() as Described[];
      return described && toAlarm(described, name);
    },
    async priorState(name) {
      let token: string | undefined;
      for (let page = 0; page < MAX_HISTORY_PAGES; page += 1) {
        const { AlarmHistoryItems, NextToken } = await client.send(
          new DescribeAlarmHistoryCommand({
            AlarmName: name,
            AlarmTypes: ALARM_TYPES,
            ScanBy: 'TimestampDescending',
            MaxRecords: HISTORY_PAGE,
            ...(token !== undefined && { NextToken: token }),
          }),
        );
        const prior = priorStateIn((AlarmHistoryItems ?? []).map(toEntry));
        if (prior !== undefined) return prior;
        // CloudWatch keeps history for weeks only, so the entry of the creation may be gone.
        if (!NextToken) return 'unknown';
        token = NextToken;
      }
      return 'unknown';
    },
    async tags(arn) {
      const { Tags } = await client.send(new ListTagsForResourceCommand({ ResourceARN: arn }));
      return Object.fromEntries((Tags ?? []).map((tag) => [tag.Key ?? '', tag.Value ?? '']));
    },
    async inAlarm(names, enough) {
      const found: string[] = [];
      let token: string | undefined;
      for (let page = 0; page < MAX_ALARM_PAGES && found.length < enough; page += 1) {
        const { MetricAlarms, NextToken } = await client.send(
          new DescribeAlarmsCommand({
            AlarmNamePrefix: names,
            AlarmTypes: [AlarmType.MetricAlarm],
            StateValue: 'ALARM',
            MaxRecords: ALARM_PAGE,
            ...(token !== undefined && { NextToken: token }),
          }),
        );
        found.push(...(MetricAlarms ?? []).map(({ AlarmName }) => AlarmName ?? ''));
        if (!NextToken) break;
        token = NextToken;
      }
      return found;
    },
  };
}

function toEntry({ HistoryItemType, HistoryData }: AlarmHistoryItem) {
  return { type: HistoryItemType ?? '', data: HistoryData ?? '' };
}

function toAlarm(alarm: Described, name: string): Alarm {
  // An alarm on an expression lists its metrics; the first one that is a metric describes the alarm.
  const inner = alarm.Metrics?.find((query) => query.MetricStat)?.MetricStat?.Metric;
  const dimensions = alarm.Dimensions?.length ? alarm.Dimensions : (inner?.Dimensions ?? []);
  const since = alarm.StateTransitionedTimestamp ?? alarm.StateUpdatedTimestamp;
  return {
    name,
    arn: alarm.AlarmArn ?? '',
    state: alarm.StateValue ?? 'INSUFFICIENT_DATA',
    reason: alarm.StateReason ?? '',
    since,
    description: alarm.AlarmDescription ?? '',
    suppression: suppressionOf(alarm, since),
    metric: alarm.MetricName ?? inner?.MetricName,
    dimensions: Object.fromEntries(dimensions.map(({ Name, Value }) => [Name ?? '', Value ?? ''])),
  };
}

/**
 * The wait period begins with the state, so its end is known. The extension period begins when the suppressor recovers, which
 * DescribeAlarms does not show.
 */
function suppressionOf(alarm: Described, since: Date | undefined): Suppression {
  if (alarm.ActionsEnabled === false) return { kind: 'muted' };
  switch (alarm.ActionsSuppressedBy) {
    case undefined:
      return { kind: 'none' };
    case 'WaitPeriod': {
      const seconds = alarm.ActionsSuppressorWaitPeriod;
      const until = since && seconds !== undefined ? new Date(since.getTime() + seconds * 1000) : undefined;
      return { kind: 'held', until };
    }
    case 'ExtensionPeriod':
      return { kind: 'held', until: undefined };
    default:
      return { kind: 'muted' };
  }
}
