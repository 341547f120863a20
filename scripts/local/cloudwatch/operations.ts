import * as v from 'valibot';
import { type Alarm, metricAlarmSchema, STATES, tagsSchema } from './alarm.ts';
import { CloudWatchError } from './errors.ts';
import { parseInput } from './input.ts';
import { metricOperations } from './metric-operations.ts';
import type { Operation } from './operation.ts';

const names = v.array(v.string());
const arnInput = v.object({ ResourceARN: v.string() });

const describeInput = v.object({
  AlarmNames: v.optional(names),
  AlarmNamePrefix: v.optional(v.string()),
  AlarmTypes: v.optional(names, ['MetricAlarm']),
  StateValue: v.optional(v.picklist(STATES)),
  MaxRecords: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 50),
  NextToken: v.optional(v.string()),
});

const historyInput = v.object({
  AlarmName: v.optional(v.string()),
  AlarmTypes: v.optional(names, ['MetricAlarm']),
  HistoryItemType: v.optional(v.string()),
  ScanBy: v.optional(v.picklist(['TimestampDescending', 'TimestampAscending']), 'TimestampDescending'),
  MaxRecords: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 50),
  NextToken: v.optional(v.string()),
});

const setStateInput = v.object({
  AlarmName: v.string(),
  StateValue: v.picklist(STATES),
  StateReason: v.pipe(v.string(), v.maxLength(1023)),
  StateReasonData: v.optional(v.pipe(v.string(), v.maxLength(4000))),
});

/** The emulated operations by name. Composite alarms do not exist: nobody can make one. */
export const OPERATIONS = new Map<string, Operation>(
  Object.entries<Operation>({
    ...metricOperations,

    PutMetricAlarm({ alarms }, input) {
      const settings = parseInput(metricAlarmSchema, refuseMath(input));
      if ((settings.DatapointsToAlarm ?? 1) > settings.EvaluationPeriods) {
        throw new CloudWatchError('ValidationError', 'DatapointsToAlarm must not exceed EvaluationPeriods');
      }
      if ((settings.Statistic === undefined) === (settings.ExtendedStatistic === undefined)) {
        throw new CloudWatchError('InvalidParameterCombination', 'Give Statistic or ExtendedStatistic');
      }
      alarms.put(settings);
      return {};
    },

    DescribeAlarms({ alarms }, input) {
      const query = parseInput(describeInput, input);
      if (query.AlarmNames !== undefined && query.AlarmNamePrefix !== undefined) {
        throw new CloudWatchError('InvalidParameterCombination', 'Give AlarmNames or AlarmNamePrefix');
      }
      const found = alarms
        .all()
        .filter(() => query.AlarmTypes.includes('MetricAlarm'))
        .filter(({ settings }) => query.AlarmNames?.includes(settings.AlarmName) ?? true)
        .filter(({ settings }) => settings.AlarmName.startsWith(query.AlarmNamePrefix ?? ''))
        .filter(({ state }) => state.value === (query.StateValue ?? state.value));
      const start = offset(query.NextToken);
      const end = start + query.MaxRecords;
      return {
        MetricAlarms: found.slice(start, end).map(described),
        CompositeAlarms: [],
        ...(end < found.length && { NextToken: String(end) }),
      };
    },

    DescribeAlarmHistory({ alarms }, input) {
      const query = parseInput(historyInput, input);
      const found = alarms
        .history(query.AlarmName)
        .filter(() => query.AlarmTypes.includes('MetricAlarm'))
        .filter(({ type }) => type === (query.HistoryItemType ?? type));
      if (query.ScanBy === 'TimestampAscending') found.reverse();
      const start = offset(query.NextToken);
      const end = start + query.MaxRecords;
      return {
        AlarmHistoryItems: found.slice(start, end).map((item) => ({
          AlarmName: item.name,
          AlarmType: 'MetricAlarm',
          Timestamp: item.at / 1000,
          HistoryItemType: item.type,
          HistorySummary: item.summary,
          HistoryData: item.data,
        })),
        ...(end < found.length && { NextToken: String(end) }),
      };
    },

    SetAlarmState({ alarms }, input) {
      const { AlarmName, StateValue, StateReason, StateReasonData } = parseInput(setStateInput, input);
      if (StateReasonData !== undefined && !isJson(StateReasonData)) {
        throw new CloudWatchError('InvalidFormat', 'StateReasonData was not syntactically valid JSON');
      }
      alarms.setState(AlarmName, { value: StateValue, reason: StateReason, reasonData: StateReasonData });
      return {};
    },

    DeleteAlarms({ alarms }, input) {
      alarms.delete(parseInput(v.object({ AlarmNames: names }), input).AlarmNames);
      return {};
    },

    ListTagsForResource({ alarms }, input) {
      const { tags } = alarms.byArn(parseInput(arnInput, input).ResourceARN);
      return { Tags: [...tags].map(([Key, Value]) => ({ Key, Value })) };
    },

    TagResource({ alarms }, input) {
      const query = parseInput(v.object({ ...arnInput.entries, Tags: tagsSchema }), input);
      const { tags } = alarms.byArn(query.ResourceARN);
      for (const { Key, Value } of query.Tags) tags.set(Key, Value);
      return {};
    },

    UntagResource({ alarms }, input) {
      const query = parseInput(v.object({ ...arnInput.entries, TagKeys: names }), input);
      const { tags } = alarms.byArn(query.ResourceARN);
      for (const key of query.TagKeys) tags.delete(key);
      return {};
    },
  }),
);

/** Metric math would be an alarm that never changes: better no alarm. */
function refuseMath(input: unknown): unknown {
  if (typeof input === 'object' && input !== null && 'Metrics' in input) {
    throw new CloudWatchError('ValidationError', 'Alarms on metric math (Metrics) are not emulated');
  }
  return input;
}

function offset(token: string | undefined): number {
  if (token === undefined) return 0;
  if (!/^\d{1,9}$/.test(token)) throw new CloudWatchError('InvalidNextToken', 'The next token is invalid');
  return Number(token);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Times are seconds in this protocol. */
function described({ arn, settings, state, updatedAt }: Alarm) {
  const { Tags: _, ...rest } = settings;
  return {
    ...rest,
    AlarmArn: arn,
    AlarmConfigurationUpdatedTimestamp: updatedAt / 1000,
    StateValue: state.value,
    StateReason: state.reason,
    StateReasonData: state.reasonData,
    StateUpdatedTimestamp: state.since / 1000,
    StateTransitionedTimestamp: state.since / 1000,
  };
}
