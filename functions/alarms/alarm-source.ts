import {
  type AlarmHistoryItem,
  type CloudWatchClient,
  type CompositeAlarm,
  DescribeAlarmHistoryCommand,
  DescribeAlarmsCommand,
  ListTagsForResourceCommand,
  type MetricAlarm,
} from '@aws-sdk/client-cloudwatch';
import { type DefiniteState, lastDefinite } from './alarm-history.ts';

/** An alarm as it is at this moment. */
export type Alarm = {
  name: string;
  arn: string;
  state: 'OK' | 'ALARM' | 'INSUFFICIENT_DATA';
  reason: string;
  /** When it came into this state. */
  since: Date | undefined;
  description: string;
  /** Somebody muted it, or a composite alarm's suppressor holds it back. */
  muted: boolean;
  metric: string | undefined;
  dimensions: Record<string, string>;
};

/** Where alarms are looked up. */
export interface AlarmSource {
  /** The alarm, or undefined if there is none of this name (any more). */
  look(name: string): Promise<Alarm | undefined>;
  /** What an alarm without data was before, if it was anything since it was created. */
  before(name: string): Promise<DefiniteState | undefined>;
  tags(arn: string): Promise<Record<string, string>>;
}

/** Composite alarms are left out of an answer unless they are asked for. */
const ALARM_TYPES = ['MetricAlarm' as const, 'CompositeAlarm' as const];

/** Items of history that are read: the latest change of state is among the first few, beside actions and settings. */
const HISTORY_ITEMS = 50;

/** Alarms in CloudWatch. */
export function cloudWatchAlarms(client: Pick<CloudWatchClient, 'send'>): AlarmSource {
  return {
    async look(name) {
      const { MetricAlarms, CompositeAlarms } = await client.send(
        new DescribeAlarmsCommand({ AlarmNames: [name], AlarmTypes: ALARM_TYPES }),
      );
      const metric = MetricAlarms?.[0];
      if (metric) return fromMetric(metric, name);
      const composite = CompositeAlarms?.[0];
      return composite && fromComposite(composite, name);
    },
    async before(name) {
      const { AlarmHistoryItems } = await client.send(
        new DescribeAlarmHistoryCommand({
          AlarmName: name,
          AlarmTypes: ALARM_TYPES,
          ScanBy: 'TimestampDescending',
          MaxRecords: HISTORY_ITEMS,
        }),
      );
      return lastDefinite((AlarmHistoryItems ?? []).map(toEntry));
    },
    async tags(arn) {
      const { Tags } = await client.send(new ListTagsForResourceCommand({ ResourceARN: arn }));
      return Object.fromEntries((Tags ?? []).map((tag) => [tag.Key ?? '', tag.Value ?? '']));
    },
  };
}

function toEntry({ HistoryItemType, HistoryData }: AlarmHistoryItem) {
  return { type: HistoryItemType ?? '', data: HistoryData ?? '' };
}

function fromMetric(alarm: MetricAlarm, name: string): Alarm {
  // An alarm on a metric expression has its metrics in a list; the first with a metric of its own tells most.
  const inner = alarm.Metrics?.find((query) => query.MetricStat)?.MetricStat?.Metric;
  const dimensions = alarm.Dimensions?.length ? alarm.Dimensions : (inner?.Dimensions ?? []);
  return {
    ...common(alarm, name),
    muted: alarm.ActionsEnabled === false,
    metric: alarm.MetricName ?? inner?.MetricName,
    dimensions: Object.fromEntries(dimensions.map((entry) => [entry.Name ?? '', entry.Value ?? ''])),
  };
}

function fromComposite(alarm: CompositeAlarm, name: string): Alarm {
  return {
    ...common(alarm, name),
    muted: alarm.ActionsEnabled === false || alarm.ActionsSuppressedBy !== undefined,
    metric: undefined,
    dimensions: {},
  };
}

function common(alarm: MetricAlarm | CompositeAlarm, name: string) {
  return {
    name,
    arn: alarm.AlarmArn ?? '',
    state: alarm.StateValue ?? ('INSUFFICIENT_DATA' as const),
    reason: alarm.StateReason ?? '',
    since: alarm.StateTransitionedTimestamp ?? alarm.StateUpdatedTimestamp,
    description: alarm.AlarmDescription ?? '',
  };
}
