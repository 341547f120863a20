import { ownEvent, parseEnvelope } from '../../shared/runtime/envelope.ts';
import { addLogFields } from '../../shared/runtime/logger.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import { isAlarmEvent, parseAlarmEvent } from './alarm-event.ts';
import type { AlarmDeps } from './ports.ts';
import { reconcileAlarm } from './reconcile-alarm.ts';

/** Retry time of a message, in milliseconds. After it, a page that was not sent is in the dead-letter queue, with an alarm. */
const RETRY_MS = 6 * 3_600_000;

/** Most retry time, in milliseconds: SQS keeps a message for 14 days (infra/modules/function/queues.tf). */
const MAX_RETRY_MS = 13 * 86_400_000;

/** Retry time of a message, in milliseconds. Inside a mute window it begins at the end of the window. */
export function retryForMs({ body }: Pick<Message, 'body'>): number {
  const event = parseEnvelope(body);
  const alarmEvent = isAlarmEvent(event) ? parseAlarmEvent(event) : undefined;
  if (!alarmEvent || 'ignored' in alarmEvent || !alarmEvent.mutedUntil) return RETRY_MS;
  const muted = Math.max(0, alarmEvent.mutedUntil.getTime() - alarmEvent.at.getTime());
  return Math.min(MAX_RETRY_MS, muted + RETRY_MS);
}

/**
 * Handles one message of the inbox.
 *
 * @throws {PermanentError} if the body is not an event, or not an alarm event of CloudWatch
 */
export async function handleAlarmMessage(message: Message, deps: AlarmDeps): Promise<Outcome> {
  const event = ownEvent(message);
  if (!isAlarmEvent(event)) {
    return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
  const alarmEvent = parseAlarmEvent(event);
  if ('ignored' in alarmEvent) return skipped(alarmEvent.ignored);
  if (!alarmEvent.name.startsWith(`${deps.prefix}-`)) {
    return skipped('foreign-alarm', { alarm: alarmEvent.name });
  }
  addLogFields({ alarm: alarmEvent.name });
  // An alarm that was observed before the time limit can have changed since.
  const pager = untilAborted(message.signal, deps.pager, ['send']);
  return reconcileAlarm(alarmEvent, message.receiveCount, { ...deps, pager });
}
