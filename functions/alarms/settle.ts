import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { done, type Ending, skipped } from '../../shared/runtime/ending.ts';
import { errorText, PermanentError, RetryableError } from '../../shared/runtime/errors.ts';
import type { AlarmHint } from './alarm-event.ts';
import type { Alarm, AlarmSource } from './alarm-source.ts';
import { type IncidentEvent, resolveEvent, triggerEvent } from './incident.ts';
import { readLabels } from './labels.ts';
import type { Pager } from './pagerduty.ts';
import { allKeys, chooseKey, type Routes } from './routes.ts';

/**
 * How often an alarm is looked at again after something was sent for it, before the record is left for later: an alarm
 * that changes more often than this within a second is flapping.
 */
const MAX_LOOKS = 4;

export type AlarmDeps = {
  alarms: AlarmSource;
  pager: Pager;
  /** The routes of now; `refresh` forgets them, because PagerDuty refused a key. */
  routing: { get(): Promise<Routes>; refresh(): void };
  count: (metric: 'IncidentsSent' | 'IncidentsUnsent', value: number) => void;
  warn: (message: string, detail: Record<string, unknown>) => void;
};

/** What PagerDuty should be told about an alarm. */
type Wanted =
  | { action: 'trigger'; alarm: Alarm }
  | { action: 'resolve' }
  | { action: 'nothing'; reason: string };

/**
 * Makes PagerDuty agree with the alarm as it is. The event only says which alarm to look at, so it does not matter
 * whether it came late, twice or in the wrong order. After something was sent the alarm is looked at once more: two
 * records about one alarm can be under way at once, and whichever sends last has then also looked last.
 */
export async function settle(hint: AlarmHint, deps: AlarmDeps): Promise<Ending> {
  let sent: IncidentEvent['event_action'] | undefined;
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const wanted = want(hint, await deps.alarms.look(hint.name));
    if (wanted.action === 'nothing') return sent ? done({ sent }) : skipped(wanted.reason);
    if (wanted.action === sent) return done({ sent });
    const outcome = await tell(wanted, hint, deps);
    if (outcome) return outcome;
    sent = wanted.action;
  }
  throw new RetryableError(
    'alarm-flapping',
    `alarm ${hint.name} changed ${MAX_LOOKS} times while it was handled`,
  );
}

function want(hint: AlarmHint, alarm: Alarm | undefined): Wanted {
  // Deleted while it was in alarm: nobody else would ever resolve its incident.
  if (!alarm) return { action: 'resolve' };
  if (alarm.state === 'OK') return { action: 'resolve' };
  if (alarm.state === 'ALARM') {
    return alarm.muted ? { action: 'nothing', reason: 'muted' } : { action: 'trigger', alarm };
  }
  // No data says nothing about the incident; the recovery that the event told of still counts.
  return hint.said === 'OK' ? { action: 'resolve' } : { action: 'nothing', reason: 'insufficient-data' };
}

/** @returns an ending if nothing could be sent */
async function tell(
  wanted: Exclude<Wanted, { action: 'nothing' }>,
  hint: AlarmHint,
  deps: AlarmDeps,
): Promise<Ending | undefined> {
  const routes = await deps.routing.get();
  if (wanted.action === 'resolve') {
    if (routes.size === 0) return unsent(hint, deps);
    for (const key of allKeys(routes)) await deps.pager.send(resolveEvent(hint.arn), key);
    deps.count('IncidentsSent', 1);
    return undefined;
  }
  const labels = readLabels(wanted.alarm, await tagsOf(wanted.alarm, deps));
  const event = triggerEvent(wanted.alarm, labels);
  const key = chooseKey(routes, labels);
  if (key === undefined) return unsent(hint, deps);
  try {
    await deps.pager.send(event, key);
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
    // The key may have been rotated since it was read: read it again, and believe a second refusal.
    deps.routing.refresh();
    const fresh = chooseKey(await deps.routing.get(), labels);
    if (fresh === undefined || fresh === key) throw error;
    await deps.pager.send(event, fresh);
  }
  deps.count('IncidentsSent', 1);
  return undefined;
}

function unsent(hint: AlarmHint, deps: AlarmDeps): Ending {
  deps.count('IncidentsUnsent', 1);
  deps.warn('no routing key: set one in the routing secret to be paged', { alarm: hint.name });
  return skipped('no-routing-key', { alarm: hint.name });
}

/** Without its tags an alarm still pages, by what its description says. */
async function tagsOf(alarm: Alarm, deps: AlarmDeps): Promise<Record<string, string>> {
  try {
    return await deps.alarms.tags(alarm.arn);
  } catch (error) {
    if (isTransient(error)) throw error;
    deps.warn('the alarm pages without its tags', { alarm: alarm.name, error: errorText(error) });
    return {};
  }
}
