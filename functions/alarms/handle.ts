import { dead, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import { parseEnvelope } from '../../shared/runtime/envelope.ts';
import { outcomeOfError } from '../../shared/runtime/inbox.ts';
import type { Message } from '../../shared/runtime/message.ts';
import { isAlarmEvent, parseAlarmEvent } from './alarm-event.ts';
import { type AlarmDeps, settle } from './settle.ts';

/** After this long, in milliseconds, a page that could not be sent is for the dead-letter queue and its alarm: 6 h. */
const GIVE_UP_MS = 6 * 3_600_000;

/**
 * Brings one message of the inbox to its outcome.
 *
 * @throws {PermanentError} if the body is no event, or none of an alarm as CloudWatch sends it
 */
export async function handleAlarmMessage(message: Message, prefix: string, deps: AlarmDeps): Promise<Outcome> {
  const event = parseEnvelope(message.body);
  if (!isAlarmEvent(event)) {
    return dead('unknown-event', { source: event.source, detailType: event.detailType });
  }
  const hint = parseAlarmEvent(event);
  if (!hint) return skipped('settings-changed');
  if (!hint.name.startsWith(`${prefix}-`)) return skipped('foreign-alarm', { alarm: hint.name });
  try {
    return await settle(hint, message.receiveCount, deps);
  } catch (error) {
    const outcome = outcomeOfError(error);
    if (outcome.outcome !== 'retry') return outcome;
    return { ...outcome, deadline: new Date(message.sentAt.getTime() + GIVE_UP_MS) };
  }
}
