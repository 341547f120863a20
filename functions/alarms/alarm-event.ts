import * as v from 'valibot';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import { parseOrReject } from '../../shared/runtime/validate.ts';
import type { Alarm } from './alarm-source.ts';

/** CloudWatch's limit for an alarm's name. */
const MAX_NAME = 255;

const alarmName = v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_NAME));

/** `2024-05-14T16:20:12.204+0000`: CloudWatch leaves the colon out of the offset, which `Date` wants there. */
const timestamp = v.pipe(
  v.string(),
  v.transform((text) => new Date(text.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))),
  v.date(),
);

const configuration = v.object({
  description: v.optional(v.string(), ''),
  actionsEnabled: v.optional(v.boolean(), true),
  metrics: v.optional(
    v.array(
      v.object({
        metricStat: v.optional(
          v.object({
            metric: v.object({
              name: v.string(),
              dimensions: v.optional(v.record(v.string(), v.string()), {}),
            }),
          }),
        ),
      }),
    ),
    [],
  ),
});

const stateChange = v.object({
  alarmName,
  state: v.object({
    value: v.picklist(['OK', 'ALARM', 'INSUFFICIENT_DATA']),
    reason: v.optional(v.string(), ''),
    // Only orders events: one that cannot be read falls back to the envelope's time.
    timestamp: v.fallback(v.optional(timestamp), undefined),
    /** On a composite alarm whose suppressor is in alarm. */
    actionsSuppressedBy: v.optional(v.string()),
  }),
  // Only describes: a page must not fail because a new kind of alarm is described in a new way.
  configuration: v.fallback(v.optional(configuration), undefined),
});

const configurationChange = v.object({ alarmName, operation: v.string() });

/** What an event says about an alarm: a hint to look. */
export type AlarmHint = {
  name: string;
  arn: string;
  /** When it came into the state that the event reports. */
  at: Date;
} & (
  | { said: 'OK' | 'INSUFFICIENT_DATA' | 'deleted' }
  /** With the alarm as the event describes it, for when it cannot be looked at. */
  | { said: 'ALARM'; told: Alarm }
);

/**
 * @returns undefined if the event is about an alarm's settings, which change nothing about an incident
 * @throws {PermanentError} `malformed-detail`
 */
export function parseAlarmEvent(event: Envelope): AlarmHint | undefined {
  if (event.detailType === 'CloudWatch Alarm Configuration Change') {
    const detail = parseOrReject(configurationChange, event.detail, 'malformed-detail');
    if (detail.operation !== 'delete') return undefined;
    return {
      name: detail.alarmName,
      arn: arnOf(event, detail.alarmName),
      at: event.time,
      said: 'deleted',
    };
  }
  const detail = parseOrReject(stateChange, event.detail, 'malformed-detail');
  const name = detail.alarmName;
  const arn = arnOf(event, name);
  const at = detail.state.timestamp ?? event.time;
  const said = detail.state.value;
  if (said !== 'ALARM') return { name, arn, at, said };
  return { name, arn, at, said, told: alarmFrom(detail, arn, at) };
}

/** Whether this function knows what to do with such an event at all. */
export function isAlarmEvent(event: Envelope): boolean {
  return (
    event.source === 'aws.cloudwatch' &&
    (event.detailType === 'CloudWatch Alarm State Change' ||
      event.detailType === 'CloudWatch Alarm Configuration Change')
  );
}

function alarmFrom(detail: v.InferOutput<typeof stateChange>, arn: string, at: Date): Alarm {
  const { state, configuration: settings } = detail;
  const metric = settings?.metrics.find(({ metricStat }) => metricStat)?.metricStat?.metric;
  return {
    name: detail.alarmName,
    arn,
    state: state.value,
    reason: state.reason,
    since: at,
    description: settings?.description ?? '',
    muted: settings?.actionsEnabled === false || state.actionsSuppressedBy !== undefined,
    metric: metric?.name,
    dimensions: metric?.dimensions ?? {},
  };
}

function arnOf(event: Envelope, name: string): string {
  const named = event.resources.find((resource) => resource.endsWith(`:alarm:${name}`));
  return named ?? `arn:aws:cloudwatch:${event.region}:${event.account}:alarm:${name}`;
}
