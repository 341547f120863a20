import { type AlarmState, type AlarmStateValue, type MetricAlarmSettings, statisticName } from './alarm.ts';
import type { Datapoint, Verdict } from './evaluate.ts';

const RELATIONS = {
  GreaterThanOrEqualToThreshold: 'greater than or equal to',
  GreaterThanThreshold: 'greater than',
  LessThanThreshold: 'less than',
  LessThanOrEqualToThreshold: 'less than or equal to',
} as const;

/** Times in alarm events: milliseconds, and an offset without a colon. */
export function alarmInstant(time: number): string {
  return new Date(time).toISOString().replace('Z', '+0000');
}

/** The new state of an alarm with the reason in CloudWatch's words. */
export function stateOf(
  settings: MetricAlarmSettings,
  verdict: NonNullable<Verdict>,
  before: AlarmStateValue,
  now: number,
): AlarmState {
  return {
    value: verdict.value,
    reason: reason(settings, verdict, before),
    reasonData: JSON.stringify(reasonData(settings, verdict, now)),
    since: now,
  };
}

function reason(
  settings: MetricAlarmSettings,
  { value, judged, missing }: NonNullable<Verdict>,
  before: AlarmStateValue,
): string {
  if (value === 'INSUFFICIENT_DATA') return `Insufficient Data: ${datapoints(missing)} unknown.`;
  if (judged.length === 0) {
    const treated = settings.TreatMissingData === 'breaching' ? 'Breaching' : 'NonBreaching';
    const periods = `${missing} period${missing === 1 ? '' : 's'}`;
    return `Threshold Crossed: no datapoints were received for ${periods} and ${missing} missing datapoint${missing === 1 ? ' was' : 's were'} treated as [${treated}].`;
  }
  const values = judged.map((point) => `${decimal(point.value ?? 0)} (${shortInstant(point.start)})`);
  const toAlarm = settings.DatapointsToAlarm ?? settings.EvaluationPeriods;
  const minimum = value === 'ALARM' ? toAlarm : settings.EvaluationPeriods - toAlarm + 1;
  const relation = `${value === 'ALARM' ? '' : 'not '}${RELATIONS[settings.ComparisonOperator]}`;
  const plural = judged.length === 1 ? 'was' : 'were';
  return `Threshold Crossed: ${judged.length} out of the last ${settings.EvaluationPeriods} datapoints [${values.join(', ')}] ${plural} ${relation} the threshold (${decimal(settings.Threshold)}) (minimum ${minimum} datapoint${minimum === 1 ? '' : 's'} for ${before} -> ${value} transition).`;
}

function reasonData(settings: MetricAlarmSettings, { judged }: NonNullable<Verdict>, now: number) {
  const first: Datapoint | undefined = judged[0];
  return {
    version: '1.0',
    queryDate: alarmInstant(now),
    ...(first !== undefined && { startDate: alarmInstant(first.start) }),
    statistic: statisticName(settings),
    period: settings.Period,
    recentDatapoints: judged.map((point) => point.value),
    threshold: settings.Threshold,
  };
}

function datapoints(count: number): string {
  return `${count} datapoint${count === 1 ? ' was' : 's were'}`;
}

/** `2` as `2.0`. */
function decimal(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

/** `14/05/24 16:19:00`. */
function shortInstant(time: number): string {
  const [date = '', clock = ''] = new Date(time).toISOString().split('T');
  const [year = '', month, day] = date.split('-');
  return `${day}/${month}/${year.slice(2)} ${clock.slice(0, 8)}`;
}
