import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { isAlarmEvent, parseAlarmEvent } from './alarm-event.ts';
import { type AlarmDeps, settle } from './settle.ts';

/** After this long, in milliseconds, a page that could not be sent is for the dead-letter queue and its alarm: 6 h. */
export const RETRY_FOR_MS = 6 * 3_600_000;

/**
 * Brings one message of the inbox to its outcome.
 *
 * @throws {PermanentError} if the body is no event, or none of an alarm as CloudWatch sends it
 */
export async function handleAlarmMessage(
  message: Message,
  deps: AlarmDeps & { prefix: string },
): Promise<Outcome> {
  const event = parseEnvelope(message.body);
  if (!isAlarmEvent(event)) {
    return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
  const hint = parseAlarmEvent(event);
  if (!hint) return skipped('settings-changed');
  if (!hint.name.startsWith(`${deps.prefix}-`)) return skipped('foreign-alarm', { alarm: hint.name });
  return settle(hint, message.receiveCount, deps);
}
