import * as v from 'valibot';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import type { Alarm, Suppression } from './alarm.ts';

/** Most characters of the name of an alarm (CloudWatch API reference). */
const MAX_NAME = 255;

const alarmName = v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_NAME));

/** `2024-05-14T16:20:12.204+0000`: CloudWatch leaves out the colon of the offset, which `Date` requires. */
const timestamp = v.pipe(
  v.string(),
  v.transform((text) => new Date(text.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))),
  v.date(),
);

/** A field that only describes: null, absent or unreadable, it is the fallback. A page must not fail because of it. */
const text = v.fallback(v.nullish(v.string(), ''), '');

const configuration = v.object({
  description: text,
  actionsEnabled: v.fallback(v.nullish(v.boolean(), true), true),
  metrics: v.fallback(
    v.nullish(
      v.array(
        v.object({
          metricStat: v.nullish(
            v.object({
              metric: v.object({
                name: v.string(),
                dimensions: v.nullish(v.record(v.string(), v.string()), {}),
              }),
            }),
          ),
        }),
      ),
      [],
    ),
    [],
  ),
});

const stateChange = v.object({
  alarmName,
  state: v.object({
    value: v.picklist(['OK', 'ALARM', 'INSUFFICIENT_DATA']),
    reason: text,
    // Only orders events. The envelope has a time too.
    timestamp: v.fallback(v.nullish(timestamp), undefined),
    /** On a composite alarm: `Alarm`, `WaitPeriod` or `ExtensionPeriod`. */
    actionsSuppressedBy: v.fallback(v.nullish(v.string()), undefined),
  }),
  previousState: v.fallback(v.nullish(v.object({ value: text, reason: text })), undefined),
  configuration: v.fallback(v.nullish(configuration), undefined),
  /** On an alarm inside the window of an alarm mute rule. */
  muteDetail: v.fallback(v.nullish(v.object({ muteWindowEnd: timestamp })), undefined),
});

const configurationChange = v.object({
  alarmName,
  operation: v.string(),
  configuration: v.fallback(v.nullish(configuration), undefined),
});

/** The reason of the state that CloudWatch gives a new alarm. */
const FIRST_STATE_REASON = /^Unchecked: Initial alarm creation/;

/** An event about an alarm: a hint to reconcile it. */
export type AlarmEvent = {
  name: string;
  arn: string;
  /** The runner group of its metric, as `<provider>/<name>`. */
  group: string | undefined;
  /** Start of the state that the event reports. */
  at: Date;
  /** The end of the mute window that the alarm is in. */
  mutedUntil?: Date;
} & (
  | { reportedState: 'OK' | 'INSUFFICIENT_DATA' | 'deleted' }
  /** With the alarm as the event describes it, for when CloudWatch cannot be read. */
  | { reportedState: 'ALARM'; snapshot: Alarm }
);

/** Events that require nothing, with the reason of their outcome. */
export type IgnoredEvent = { ignored: 'configuration-changed' | 'first-state' };

/** Whether the event is about an alarm. */
export function isAlarmEvent(event: Envelope): boolean {
  return (
    event.source === 'aws.cloudwatch' &&
    (event.detailType === 'CloudWatch Alarm State Change' ||
      event.detailType === 'CloudWatch Alarm Configuration Change')
  );
}

/** @throws {PermanentError} `malformed-detail` */
export function parseAlarmEvent(event: Envelope): AlarmEvent | IgnoredEvent {
  if (event.detailType === 'CloudWatch Alarm Configuration Change') {
    const change = parseOrReject(configurationChange, event.detail, 'malformed-detail');
    if (change.operation !== 'delete') return { ignored: 'configuration-changed' };
    const { alarmName: name, configuration: settings } = change;
    const group = metricOf(settings)?.dimensions?.Group;
    return { name, arn: arnOf(event, name), group, at: event.time, reportedState: 'deleted' };
  }
  const detail = parseOrReject(stateChange, event.detail, 'malformed-detail');
  const { state, previousState, muteDetail } = detail;
  // The first data of a new alarm is no recovery: no incident of this alarm can be open.
  if (state.value === 'OK' && FIRST_STATE_REASON.test(previousState?.reason ?? '')) {
    return { ignored: 'first-state' };
  }
  const arn = arnOf(event, detail.alarmName);
  const at = state.timestamp ?? event.time;
  const common = {
    name: detail.alarmName,
    arn,
    group: metricOf(detail.configuration)?.dimensions?.Group,
    at,
    ...(muteDetail && { mutedUntil: muteDetail.muteWindowEnd }),
  };
  if (state.value !== 'ALARM') return { ...common, reportedState: state.value };
  return { ...common, reportedState: 'ALARM', snapshot: snapshotOf(detail, arn, at) };
}

function snapshotOf(detail: v.InferOutput<typeof stateChange>, arn: string, at: Date): Alarm {
  const { state, configuration: settings } = detail;
  const metric = metricOf(settings);
  return {
    name: detail.alarmName,
    arn,
    state: state.value,
    reason: state.reason ?? '',
    since: at,
    description: settings?.description ?? '',
    suppression: suppressionOf(detail),
    metric: metric?.name,
    dimensions: metric?.dimensions ?? {},
  };
}

/** The first metric of the alarm. */
function metricOf(settings: v.InferOutput<typeof configuration> | null | undefined) {
  return settings?.metrics?.find(({ metricStat }) => metricStat)?.metricStat?.metric;
}

function suppressionOf({ state, configuration: settings }: v.InferOutput<typeof stateChange>): Suppression {
  if (settings?.actionsEnabled === false) return { kind: 'muted' };
  switch (state.actionsSuppressedBy ?? undefined) {
    case undefined:
      return { kind: 'none' };
    case 'WaitPeriod':
    case 'ExtensionPeriod':
      return { kind: 'held', until: undefined };
    default:
      return { kind: 'muted' };
  }
}

/** Partitions by the start of their regions (AWS General Reference). */
const PARTITIONS: readonly [RegExp, string][] = [
  [/^cn-/, 'aws-cn'],
  [/^us-gov-/, 'aws-us-gov'],
  [/^eusc-/, 'aws-eusc'],
  [/^us-iso-/, 'aws-iso'],
  [/^us-isob-/, 'aws-iso-b'],
  [/^eu-isoe-/, 'aws-iso-e'],
  [/^us-isof-/, 'aws-iso-f'],
];

function arnOf(event: Envelope, name: string): string {
  const named = event.resources.find((resource) => resource.endsWith(`:alarm:${name}`));
  const partition = PARTITIONS.find(([region]) => region.test(event.region))?.[1] ?? 'aws';
  return named ?? `arn:${partition}:cloudwatch:${event.region}:${event.account}:alarm:${name}`;
}
