import { type CloudWatchClient, PutMetricAlarmCommand } from '@aws-sdk/client-cloudwatch';
import type { AlarmSettings, Deployment } from './settings.ts';

/** Creates one metric alarm. Missing data is not breaching: a fleet without instances sends no data. */
export async function makeAlarm(
  cloudWatch: CloudWatchClient,
  alarm: AlarmSettings,
  { prefix }: Deployment,
): Promise<void> {
  await cloudWatch.send(
    new PutMetricAlarmCommand({
      AlarmName: `${prefix}-${alarm.name}`,
      AlarmDescription: alarm.description,
      Namespace: alarm.namespace,
      MetricName: alarm.metric,
      Dimensions: Object.entries(alarm.dimensions).map(([Name, Value]) => ({ Name, Value })),
      Statistic: alarm.statistic,
      ComparisonOperator: alarm.comparison,
      Threshold: alarm.threshold,
      Period: alarm.period,
      EvaluationPeriods: 1,
      TreatMissingData: 'notBreaching',
      // Every alarm of the module has a severity.
      Tags: Object.entries({ 'hearth:severity': 'error', ...alarm.tags }).map(([Key, Value]) => ({
        Key,
        Value,
      })),
    }),
  );
}
