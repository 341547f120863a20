import * as v from 'valibot';
import type { Envelope } from '../../shared/runtime/envelope.ts';
import { parseOrDie } from '../../shared/runtime/validate.ts';

/** CloudWatch's limit for an alarm's name. */
const MAX_NAME = 255;

const alarmName = v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_NAME));

const stateChange = v.object({
  alarmName,
  state: v.object({ value: v.picklist(['OK', 'ALARM', 'INSUFFICIENT_DATA']) }),
});

const configurationChange = v.object({ alarmName, operation: v.string() });

/** What an event says about an alarm. A hint to look: only its name and its last known state are used. */
export type AlarmHint = {
  name: string;
  arn: string;
  /** The state that the event reports; `deleted` if it reports the alarm's end. */
  said: 'OK' | 'ALARM' | 'INSUFFICIENT_DATA' | 'deleted';
};

/**
 * @returns undefined if the event is about an alarm's settings, which change nothing about an incident
 * @throws {PermanentError} `unknown-event` or `malformed-detail`
 */
export function parseAlarmEvent(event: Envelope): AlarmHint | undefined {
  if (event.detailType === 'CloudWatch Alarm Configuration Change') {
    const detail = parseOrDie(configurationChange, event.detail, 'malformed-detail');
    if (detail.operation !== 'delete') return undefined;
    return { name: detail.alarmName, arn: arnOf(event, detail.alarmName), said: 'deleted' };
  }
  const detail = parseOrDie(stateChange, event.detail, 'malformed-detail');
  return { name: detail.alarmName, arn: arnOf(event, detail.alarmName), said: detail.state.value };
}

/** Whether this function knows what to do with such an event at all. */
export function isAlarmEvent(event: Envelope): boolean {
  return (
    event.source === 'aws.cloudwatch' &&
    (event.detailType === 'CloudWatch Alarm State Change' ||
      event.detailType === 'CloudWatch Alarm Configuration Change')
  );
}

function arnOf(event: Envelope, name: string): string {
  const named = event.resources.find((resource) => resource.endsWith(`:alarm:${name}`));
  return named ?? `arn:aws:cloudwatch:${event.region}:${event.account}:alarm:${name}`;
}
