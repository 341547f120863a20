import type { AlarmStateValue, MetricAlarmSettings } from './alarm.ts';

/** A period's value; undefined if nothing was measured in it. */
export type Datapoint = { start: number; value: number | undefined };

/** What an evaluation found; `undefined` keeps the present state. */
export type Verdict = { value: AlarmStateValue; judged: Datapoint[]; missing: number } | undefined;

/**
 * Periods that are read beyond those to evaluate, so that late data does not count as missing. CloudWatch does the same and
 * documents no number; its documented examples with three periods have two more.
 */
export const SPARE_PERIODS = 2;

/**
 * Judges an alarm as CloudWatch documents it ("Configuring how alarms treat missing data"): by the newest datapoints
 * that are there, and only if those are too few by what missing data counts as.
 *
 * @param datapoints one a period, oldest first: the periods to evaluate and the spare ones before them
 */
export function judge(settings: MetricAlarmSettings, datapoints: readonly Datapoint[]): Verdict {
  const needed = settings.EvaluationPeriods;
  const toAlarm = settings.DatapointsToAlarm ?? needed;
  const judged = datapoints.filter((datapoint) => datapoint.value !== undefined).slice(-needed);
  const missing = needed - judged.length;
  const breaching = judged.filter((datapoint) => isBreaching(settings, datapoint.value)).length;
  const verdict = (value: AlarmStateValue) => ({ value, judged, missing });
  if (breaching >= toAlarm) return verdict('ALARM');
  if (missing === 0) return verdict('OK');
  switch (settings.TreatMissingData) {
    case 'breaching':
      return verdict(breaching + missing >= toAlarm ? 'ALARM' : 'OK');
    case 'notBreaching':
      return verdict('OK');
    case 'ignore':
      return breaching === judged.length ? undefined : verdict('OK');
    case 'missing':
      if (judged.length === 0) return verdict('INSUFFICIENT_DATA');
      return verdict(breaching === judged.length ? 'ALARM' : 'OK');
  }
}

function isBreaching(settings: MetricAlarmSettings, value: number | undefined): boolean {
  if (value === undefined) return false;
  const { Threshold: threshold } = settings;
  switch (settings.ComparisonOperator) {
    case 'GreaterThanOrEqualToThreshold':
      return value >= threshold;
    case 'GreaterThanThreshold':
      return value > threshold;
    case 'LessThanThreshold':
      return value < threshold;
    case 'LessThanOrEqualToThreshold':
      return value <= threshold;
  }
}
