import { isTransient } from '../../shared/runtime/aws-errors.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { errorText, RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, retryLater, skipped } from '../../shared/runtime/outcome.ts';
import type { Alarm, PriorState } from './alarm.ts';
import type { AlarmEvent } from './alarm-event.ts';
import { type DesiredAction, decideAction, decideWithoutAlarm, isBehind, NO_DATA } from './desired-action.ts';
import { isTagged } from './labels.ts';
import { readTags, type SendResult, type SeriesState, sendResolve, sendTrigger } from './notify.ts';
import type { AlarmDeps } from './ports.ts';
import { MOST_INCIDENTS, seriesOf } from './series.ts';

/** Most observations of an alarm per receive. An alarm that changes more often within a second is flapping. */
const MAX_OBSERVATIONS = 4;

/** Age of an event, in milliseconds, after which the observed alarm counts even if the event reports another state. */
const FRESH_MS = 60_000;

/** Wait after an observation that is older than the event, in seconds. */
const BEHIND_SECONDS = 5;

/** Wait for the end of a suppression whose end is unknown, in seconds. */
const HOLD_SECONDS = 30;

/** Longest wait for the end of a suppression, in seconds: SQS hides a message for 12 hours in total per receive. */
const MAX_HOLD_SECONDS = 11 * 3600;

/** Mute windows that end later than this after the event, in milliseconds, exceed the 14 days for which SQS keeps a message. */
const MAX_MUTE_MS = 13 * 86_400_000;

/**
 * Makes PagerDuty agree with the present alarm. The event only names the alarm, so its delay, its copies and its order do not
 * matter. After an event is sent to PagerDuty the alarm is observed once more: two records about one alarm can run side by
 * side, and the record that sends last has then also observed last.
 *
 * @param receiveCount number of receives of the record, this one included
 */
export async function reconcileAlarm(
  event: AlarmEvent,
  receiveCount: number,
  deps: AlarmDeps,
): Promise<Outcome> {
  let sent: 'trigger' | 'resolve' | undefined;
  for (let observation = 0; observation < MAX_OBSERVATIONS; observation += 1) {
    const desired = await observeAlarm(event, deps, receiveCount === 1 && sent === undefined);
    if (desired.action === 'hold') return hold(desired.until, event, deps);
    if (desired.action === 'nothing') return sent ? done({ sent }) : skipped(desired.reason);
    if (desired.action === sent) return done({ sent });
    const result = await send(desired, event, deps);
    if (result === 'foreign') return skipped('foreign-alarm', { alarm: event.name });
    if (desired.action === 'trigger') countTrigger(result, deps);
    if (result === 'no-key') return skipped('no-routing-key', { alarm: event.name });
    sent = desired.action;
  }
  throw new RetryableError(
    'alarm-flapping',
    `alarm ${event.name} changed ${MAX_OBSERVATIONS} times while it was handled`,
  );
}

/**
 * @param untouched whether this record cannot have sent anything yet
 * @throws {RetryableError} `event-ahead` if CloudWatch does not show the state of a fresh event yet
 */
async function observeAlarm(event: AlarmEvent, deps: AlarmDeps, untouched: boolean): Promise<DesiredAction> {
  let alarm: Alarm | undefined;
  try {
    alarm = await deps.alarms.get(event.name);
  } catch (error) {
    if (untouched) await pageFromEvent(event, error, deps);
    throw error;
  }
  if (isFresh(event, deps.clock) && isBehind(event, alarm)) {
    throw new RetryableError(
      'event-ahead',
      `CloudWatch does not show alarm ${event.name} as its event does`,
      {
        afterSeconds: BEHIND_SECONDS,
      },
    );
  }
  const now = deps.clock.now();
  if (!alarm) {
    const prior = event.reportedState === 'ALARM' ? await readPriorState(event, deps) : 'unknown';
    return decideWithoutAlarm(event, prior, now);
  }
  const { mutedUntil } = event;
  if (alarm.state !== 'INSUFFICIENT_DATA') return decideAction(alarm, 'unknown', { now, mutedUntil });
  // Missing data alone changes nothing. A record that may have sent an event checks that this event still holds.
  if (event.reportedState === 'INSUFFICIENT_DATA' && untouched) return NO_DATA;
  return decideAction(alarm, await readPriorState(event, deps), { now, mutedUntil });
}

/** Without a readable history the event decides: a recovery counts, and a page that may be over is not sent. */
async function readPriorState(event: AlarmEvent, deps: AlarmDeps): Promise<PriorState> {
  try {
    return await deps.alarms.priorState(event.name);
  } catch (error) {
    if (isTransient(error)) throw error;
    deps.logger.warn('the history of the alarm is not readable', {
      alarm: event.name,
      error: errorText(error),
    });
    return event.reportedState === 'OK' ? 'OK' : 'unknown';
  }
}

/**
 * Pages from a fresh event when CloudWatch cannot be read: an outage of CloudWatch must not silence an alarm. The record stays
 * in the inbox, and PagerDuty receives the present state when CloudWatch can be read again.
 */
async function pageFromEvent(event: AlarmEvent, error: unknown, deps: AlarmDeps): Promise<void> {
  if (event.reportedState !== 'ALARM' || !isFresh(event, deps.clock)) return;
  const { mutedUntil } = event;
  const desired = decideAction(event.snapshot, 'ALARM', { now: deps.clock.now(), mutedUntil });
  if (desired.action !== 'trigger') return;
  deps.logger.warn('the alarm is not readable: its event pages', {
    alarm: event.name,
    error: errorText(error),
  });
  // Where the tags cannot be read either, the page is not lost.
  const tags = await readTags(event.snapshot, deps).catch(() => undefined);
  if (tags && !isTagged(tags)) return;
  countTrigger(await sendTrigger(event.snapshot, tags ?? {}, deps), deps);
}

/** Keeps the record until the end of a suppression and then decides again. */
function hold(until: Date | undefined, event: AlarmEvent, deps: AlarmDeps): Outcome {
  if (until && until.getTime() - event.at.getTime() > MAX_MUTE_MS) {
    return skipped('muted', { alarm: event.name, until: until.toISOString() });
  }
  const seconds = until ? Math.ceil((until.getTime() - deps.clock.now().getTime()) / 1000) : HOLD_SECONDS;
  return retryLater('actions-suppressed', {
    // A suppression that lasts past its end gets the inbox's back-off: one receive per second uses up the receive limit.
    ...(seconds > 0 && { afterSeconds: Math.min(MAX_HOLD_SECONDS, seconds) }),
    detail: { alarm: event.name, ...(until && { until: until.toISOString() }) },
  });
}

function isFresh(event: AlarmEvent, clock: Clock): boolean {
  return Math.abs(clock.now().getTime() - event.at.getTime()) < FRESH_MS;
}

async function send(
  desired: Extract<DesiredAction, { action: 'trigger' | 'resolve' }>,
  event: AlarmEvent,
  deps: AlarmDeps,
): Promise<SendResult | 'foreign'> {
  const series = seriesStateOf(event, deps);
  if (desired.action === 'resolve') {
    const result = await sendResolve(event.arn, deps);
    if (series) await resolveSeries(series, event, deps);
    return result;
  }
  // The ARN of the event, so that the resolve of a deleted alarm has the same dedup key.
  const alarm = { ...desired.alarm, arn: event.arn };
  const tags = await readTags(alarm, deps);
  // A page must not be lost because tags cannot be read.
  if (tags && !isTagged(tags)) return 'foreign';
  return sendTrigger(alarm, tags ?? {}, deps, series);
}

/**
 * Resolves the incident of a series if no other alarm of it is in ALARM. Where many alarms recover at once, many records find this; a
 * resolve that began after a record's own read is enough for it.
 */
async function resolveSeries(series: SeriesState, event: AlarmEvent, deps: AlarmDeps): Promise<void> {
  const before = deps.seriesResolves.get(series.arn);
  const names = await series.inAlarm();
  // CloudWatch can still list an alarm that is deleted.
  if (names.some((name) => name !== event.name)) return;
  const latest = deps.seriesResolves.get(series.arn);
  const resolve = latest !== undefined && latest !== before ? latest : sendResolve(series.arn, deps);
  deps.seriesResolves.set(series.arn, resolve);
  await resolve;
}

function seriesStateOf(event: AlarmEvent, { alarms, prefix }: AlarmDeps): SeriesState | undefined {
  const series = seriesOf(event, prefix);
  return series && { ...series, inAlarm: () => alarms.inAlarm(series.names, MOST_INCIDENTS + 1) };
}

/** Only triggers count: a resolve opens no incident, and a resolve without a key loses no page. */
function countTrigger(result: SendResult, { metrics }: AlarmDeps): void {
  metrics.add(result === 'sent' ? 'IncidentsSent' : 'IncidentsUnsent', 1, {});
}
