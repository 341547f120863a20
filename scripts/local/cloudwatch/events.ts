import type { OutgoingEvent } from '../service.ts';
import {
  type Alarm,
  type AlarmState,
  dimensionsOf,
  type MetricAlarmSettings,
  statisticName,
} from './alarm.ts';
import { alarmInstant } from './messages.ts';

/** `CloudWatch Alarm State Change`. */
export function stateChangeEvent(alarm: Alarm, previous: AlarmState): OutgoingEvent {
  return {
    source: 'aws.cloudwatch',
    detailType: 'CloudWatch Alarm State Change',
    resources: [alarm.arn],
    time: new Date(alarm.state.since),
    detail: {
      alarmName: alarm.settings.AlarmName,
      configuration: { ...description(alarm.settings), metrics: metrics(alarm.metricId, alarm.settings) },
      previousState: state(previous),
      state: state(alarm.state),
    },
  };
}

/** `CloudWatch Alarm Configuration Change`. @param previous the settings before an update */
export function configurationChangeEvent(
  alarm: Alarm,
  operation: 'create' | 'update' | 'delete',
  at: number,
  previous?: MetricAlarmSettings,
): OutgoingEvent {
  return {
    source: 'aws.cloudwatch',
    detailType: 'CloudWatch Alarm Configuration Change',
    resources: [alarm.arn],
    time: new Date(at),
    detail: {
      alarmName: alarm.settings.AlarmName,
      operation,
      state: { value: alarm.state.value, timestamp: alarmInstant(alarm.state.since) },
      configuration: configuration(alarm, alarm.settings),
      ...(previous !== undefined && { previousConfiguration: configuration(alarm, previous) }),
    },
  };
}

function state({ value, reason, reasonData, since }: AlarmState) {
  return {
    value,
    reason,
    ...(reasonData !== undefined && { reasonData }),
    timestamp: alarmInstant(since),
  };
}

function configuration(alarm: Alarm, settings: MetricAlarmSettings) {
  return {
    ...description(settings),
    metrics: metrics(alarm.metricId, settings),
    evaluationPeriods: settings.EvaluationPeriods,
    ...(settings.DatapointsToAlarm !== undefined && { datapointsToAlarm: settings.DatapointsToAlarm }),
    threshold: settings.Threshold,
    comparisonOperator: settings.ComparisonOperator,
    treatMissingData: settings.TreatMissingData,
    alarmName: settings.AlarmName,
    actionsEnabled: settings.ActionsEnabled,
    timestamp: alarmInstant(alarm.updatedAt),
    okActions: settings.OKActions,
    alarmActions: settings.AlarmActions,
    insufficientDataActions: settings.InsufficientDataActions,
  };
}

function description(settings: MetricAlarmSettings) {
  return settings.AlarmDescription === undefined ? {} : { description: settings.AlarmDescription };
}

/** Dimensions are an object here, whereas the API has a list. */
function metrics(id: string, settings: MetricAlarmSettings) {
  const metric = {
    namespace: settings.Namespace,
    name: settings.MetricName,
    dimensions: dimensionsOf(settings),
  };
  return [
    { id, metricStat: { metric, period: settings.Period, stat: statisticName(settings) }, returnData: true },
  ];
}
