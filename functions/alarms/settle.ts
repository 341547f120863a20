import { isTransient } from '../../shared/runtime/aws-errors.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { errorText, RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import type { AlarmHint } from './alarm-event.ts';
import type { Alarm, AlarmSource } from './alarm-source.ts';
import { type TellDeps, type Told, tagsOf, tellResolve, tellTrigger } from './tell.ts';
import { type Before, isBehind, NO_DATA, type Wanted, want } from './want.ts';

/**
 * How often an alarm is looked at again after something was sent for it, before the record is left for later: an alarm
 * that changes more often than this within a second is flapping.
 */
const MAX_LOOKS = 4;

/** How long an event is fresh, in milliseconds: after it, the alarm as it is counts, whatever the event says. */
const FRESH_MS = 60_000;

/** When to look again after a look that shows what was before the event, in seconds. */
const LOOK_AGAIN_SECONDS = 5;

export type AlarmDeps = TellDeps & {
  alarms: AlarmSource;
  count: (metric: 'IncidentsSent' | 'IncidentsUnsent', value: number) => void;
  clock: Clock;
};

/**
 * Makes PagerDuty agree with the alarm as it is. The event only says which alarm to look at, so it does not matter
 * whether it came late, twice or in the wrong order. After something was sent the alarm is looked at once more: two
 * records about one alarm can be under way at once, and whichever sends last has then also looked last.
 *
 * @param receiveCount how many times the record has been received, this time included
 */
export async function settle(hint: AlarmHint, receiveCount: number, deps: AlarmDeps): Promise<Outcome> {
  let sent: 'trigger' | 'resolve' | undefined;
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const wanted = await lookAt(hint, deps, receiveCount === 1 && sent === undefined);
    if (wanted.action === 'nothing') return sent ? done({ sent }) : skipped(wanted.reason);
    if (wanted.action === sent) return done({ sent });
    if ((await tell(wanted, hint, deps)) === 'no-key') return unsent(hint, deps);
    deps.count('IncidentsSent', 1);
    sent = wanted.action;
  }
  throw new RetryableError(
    'alarm-flapping',
    `alarm ${hint.name} changed ${MAX_LOOKS} times while it was handled`,
  );
}

/** @param untouched nothing can have been sent because of this record so far */
async function lookAt(hint: AlarmHint, deps: AlarmDeps, untouched: boolean): Promise<Wanted> {
  let alarm: Alarm | undefined;
  try {
    alarm = await deps.alarms.look(hint.name);
  } catch (error) {
    if (untouched) await pageUnseen(hint, error, deps);
    throw error;
  }
  if (isFresh(hint, deps.clock) && isBehind(hint, alarm)) {
    throw new RetryableError('event-ahead', `alarm ${hint.name} does not show yet what its event says`, {
      afterSeconds: LOOK_AGAIN_SECONDS,
    });
  }
  if (alarm?.state !== 'INSUFFICIENT_DATA') return want(alarm, undefined);
  // The usual case, which need not look back; a record that may have sent something must know whether it still holds.
  if (hint.said === 'INSUFFICIENT_DATA' && untouched) return NO_DATA;
  return want(alarm, await stateBefore(hint, deps));
}

/** Without the alarm's history the event is all there is: a recovery counts, and a page that may be over is not sent. */
async function stateBefore(hint: AlarmHint, deps: AlarmDeps): Promise<Before> {
  try {
    return await deps.alarms.before(hint.name);
  } catch (error) {
    if (isTransient(error)) throw error;
    deps.warn("the alarm's history could not be read", { alarm: hint.name, error: errorText(error) });
    return hint.said === 'OK' ? 'OK' : 'unknown';
  }
}

/**
 * Pages by what a fresh event says when the alarm cannot be looked at: CloudWatch in trouble is no time to be silent. The
 * record stays in the inbox, and whatever the alarm is when it can be looked at again is told then.
 */
async function pageUnseen(hint: AlarmHint, error: unknown, deps: AlarmDeps): Promise<void> {
  if (hint.said !== 'ALARM' || hint.told.muted || !isFresh(hint, deps.clock)) return;
  deps.warn('the alarm could not be looked at: paging by its event', {
    alarm: hint.name,
    error: errorText(error),
  });
  if ((await tellTrigger(hint.told, {}, deps)) === 'sent') deps.count('IncidentsSent', 1);
}

function isFresh(hint: AlarmHint, clock: Clock): boolean {
  return Math.abs(clock.now().getTime() - hint.at.getTime()) < FRESH_MS;
}

async function tell(
  wanted: Exclude<Wanted, { action: 'nothing' }>,
  hint: AlarmHint,
  deps: AlarmDeps,
): Promise<Told> {
  if (wanted.action === 'resolve') return tellResolve(hint.arn, deps);
  // The event's ARN, so that the resolve of an alarm that is gone by then has the same key.
  const alarm = { ...wanted.alarm, arn: hint.arn };
  return tellTrigger(alarm, await tagsOf(alarm, deps), deps);
}

function unsent(hint: AlarmHint, deps: AlarmDeps): Outcome {
  deps.count('IncidentsUnsent', 1);
  deps.warn('no routing key: set one in the routing secret to be paged', { alarm: hint.name });
  return skipped('no-routing-key', { alarm: hint.name });
}
