import * as v from 'valibot';
import { isStatistic } from './samples.ts';

export const STATES = ['OK', 'ALARM', 'INSUFFICIENT_DATA'] as const;
export type AlarmStateValue = (typeof STATES)[number];

const COMPARISONS = [
  'GreaterThanOrEqualToThreshold',
  'GreaterThanThreshold',
  'LessThanThreshold',
  'LessThanOrEqualToThreshold',
] as const;

const name = v.pipe(v.string(), v.nonEmpty(), v.maxLength(255));
const count = v.pipe(v.number(), v.integer(), v.minValue(1));
const actions = v.optional(v.array(v.string()), []);
const statistic = v.pipe(v.string(), v.check(isStatistic, 'a statistic that is emulated'));
const dimensions = v.optional(v.array(v.object({ Name: name, Value: name })), []);
export const tagsSchema = v.array(v.object({ Key: name, Value: v.string() }));

/** PutMetricAlarm with a static threshold on one metric; metric math and anomaly bands are not emulated. */
export const metricAlarmSchema = v.object({
  AlarmName: name,
  AlarmDescription: v.optional(v.pipe(v.string(), v.maxLength(1024))),
  ActionsEnabled: v.optional(v.boolean(), true),
  OKActions: actions,
  AlarmActions: actions,
  InsufficientDataActions: actions,
  Namespace: name,
  MetricName: name,
  Dimensions: dimensions,
  Statistic: v.optional(statistic),
  ExtendedStatistic: v.optional(statistic),
  Unit: v.optional(v.string()),
  Period: count,
  EvaluationPeriods: count,
  DatapointsToAlarm: v.optional(count),
  Threshold: v.number(),
  ComparisonOperator: v.picklist(COMPARISONS),
  TreatMissingData: v.optional(v.picklist(['missing', 'ignore', 'breaching', 'notBreaching']), 'missing'),
  Tags: v.optional(tagsSchema),
});

export type MetricAlarmSettings = v.InferOutput<typeof metricAlarmSchema>;

export type AlarmState = {
  value: AlarmStateValue;
  reason: string;
  reasonData: string | undefined;
  /** Milliseconds since 1970. */
  since: number;
};

export type Alarm = {
  readonly arn: string;
  settings: MetricAlarmSettings;
  /** Made once, and part of the events' configuration. */
  readonly metricId: string;
  updatedAt: number;
  state: AlarmState;
  tags: Map<string, string>;
};

/** The statistic by which an alarm judges. */
export function statisticName(settings: MetricAlarmSettings): string {
  return settings.Statistic ?? settings.ExtendedStatistic ?? 'Average';
}

export function dimensionsOf(settings: MetricAlarmSettings): Record<string, string> {
  return Object.fromEntries(settings.Dimensions.map((dimension) => [dimension.Name, dimension.Value]));
}
