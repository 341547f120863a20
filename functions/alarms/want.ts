import type { AlarmHint } from './alarm-event.ts';
import type { DefiniteState } from './alarm-history.ts';
import type { Alarm } from './alarm-source.ts';

/** What PagerDuty should be told about an alarm. */
export type Wanted =
  | { action: 'trigger'; alarm: Alarm }
  | { action: 'resolve' }
  | { action: 'nothing'; reason: string };

/** An alarm without data says nothing about its incident. */
export const NO_DATA: Wanted = { action: 'nothing', reason: 'insufficient-data' };

/** What an alarm without data was before: `undefined` if it was nothing since it was made, `unknown` if nobody can say. */
export type Before = DefiniteState | 'unknown' | undefined;

/**
 * What an alarm as it is calls for. One without data is what it was before: a change that no data has overtaken
 * still counts.
 *
 * @param alarm as it is now; undefined if there is none
 */
export function want(alarm: Alarm | undefined, before: Before): Wanted {
  // Deleted while it was in alarm: nobody else would ever resolve its incident.
  if (!alarm) return { action: 'resolve' };
  const state = alarm.state === 'INSUFFICIENT_DATA' ? before : alarm.state;
  if (state === 'unknown') return NO_DATA;
  if (state === 'ALARM') {
    return alarm.muted ? { action: 'nothing', reason: 'muted' } : { action: 'trigger', alarm };
  }
  // Recovered, or made anew and not sure of itself yet: then the incident of the old one is over.
  return { action: 'resolve' };
}

/**
 * Whether a look at the alarm shows what was before the event: CloudWatch sends events and answers questions
 * through different doors. Believing such a look would lose a page, or leave an incident open.
 */
export function isBehind(hint: AlarmHint, alarm: Alarm | undefined): boolean {
  if (hint.said === 'deleted') return alarm !== undefined && isOlder(alarm, hint.at);
  if (!alarm) return true;
  return alarm.state !== hint.said && isOlder(alarm, hint.at);
}

function isOlder(alarm: Alarm, at: Date): boolean {
  return alarm.since !== undefined && alarm.since < at;
}
