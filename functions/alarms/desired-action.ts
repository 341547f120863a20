import type { Alarm, PriorState } from './alarm.ts';
import type { AlarmEvent } from './alarm-event.ts';

/** The event that PagerDuty should receive about an alarm. */
export type DesiredAction =
  | { action: 'trigger'; alarm: Alarm }
  | { action: 'resolve' }
  /** A trigger that follows after a period which ends without a change of state. */
  | { action: 'hold'; until: Date | undefined }
  | { action: 'nothing'; reason: 'insufficient-data' | 'muted' };

/** The past of an alarm without data is unknown, so its incident stays as it is. */
export const NO_DATA: DesiredAction = { action: 'nothing', reason: 'insufficient-data' };

/**
 * The action for an alarm. INSUFFICIENT_DATA counts as the state before it: a change that was followed by missing data still
 * counts.
 *
 * @param alarm the present alarm
 * @param prior its prior state, used for INSUFFICIENT_DATA
 * @param mutedUntil end of the mute window that its event names
 */
export function decideAction(
  alarm: Alarm,
  prior: PriorState,
  { now, mutedUntil }: { now: Date; mutedUntil?: Date | undefined },
): DesiredAction {
  const state = alarm.state === 'INSUFFICIENT_DATA' ? prior : alarm.state;
  if (state === 'unknown') return NO_DATA;
  // Recovered, or created again without data: the incident of the deleted alarm is over.
  if (state !== 'ALARM') return { action: 'resolve' };
  const { suppression } = alarm;
  if (suppression.kind === 'muted') return { action: 'nothing', reason: 'muted' };
  if (suppression.kind === 'held') return { action: 'hold', until: suppression.until };
  if (mutedUntil && mutedUntil > now) return { action: 'hold', until: mutedUntil };
  return { action: 'trigger', alarm };
}

/**
 * The action for an alarm that CloudWatch does not return. A deleted alarm can never recover, so its incident is resolved. An
 * event that reports ALARM pages unless the history shows that the alarm is deleted or has recovered since: the type of the
 * alarm may be newer than this version.
 */
export function decideWithoutAlarm(event: AlarmEvent, prior: PriorState, now: Date): DesiredAction {
  if (event.reportedState === 'deleted' || prior === 'deleted') return { action: 'resolve' };
  switch (event.reportedState) {
    case 'ALARM':
      if (prior === 'OK') return { action: 'resolve' };
      return decideAction(event.snapshot, 'ALARM', { now, mutedUntil: event.mutedUntil });
    case 'OK':
      return { action: 'resolve' };
    case 'INSUFFICIENT_DATA':
      return NO_DATA;
  }
}

/**
 * Whether CloudWatch still shows the alarm as it was before the event: events and DescribeAlarms are not consistent with each
 * other. To trust such an answer would lose a page or leave an incident open.
 */
export function isBehind(event: AlarmEvent, alarm: Alarm | undefined): boolean {
  if (event.reportedState === 'deleted') return alarm !== undefined && isOlder(alarm, event.at);
  if (!alarm) return true;
  return alarm.state !== event.reportedState && isOlder(alarm, event.at);
}

function isOlder(alarm: Alarm, at: Date): boolean {
  return alarm.since !== undefined && alarm.since < at;
}
