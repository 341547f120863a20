import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { errorText, PermanentError } from '../../shared/runtime/errors.ts';
import type { Alarm } from './alarm.ts';
import { resolveEvent, seriesEvent, triggerEvent } from './incident.ts';
import { readLabels } from './labels.ts';
import type { AlarmDeps } from './ports.ts';
import { allKeys, hasOwnRoute, keysFor } from './routes.ts';
import { MOST_INCIDENTS, type Series } from './series.ts';

/** `no-key`: the routing secret has no key for the event. */
export type SendResult = 'sent' | 'no-key';

type NotifyDeps = Pick<AlarmDeps, 'pager' | 'routing' | 'logger'>;

/** A series, and its alarms in ALARM. */
export type SeriesState = Series & { inAlarm(): Promise<readonly string[]> };

/**
 * Opens the incident of an alarm, or adds to it if it is open. Where many alarms of its series are in ALARM, they have one incident
 * together, unless the runner group has a route of its own: its incidents concern other people. A key that PagerDuty refuses may
 * have been rotated since it was read, so the secret is read again. If the key is the same, the next matching route is used: a page
 * through the default route is better than no page.
 *
 * @throws {PermanentError} if PagerDuty refuses every key
 */
export async function sendTrigger(
  alarm: Alarm,
  tags: Readonly<Record<string, string>>,
  { pager, routing, logger }: NotifyDeps,
  series?: SeriesState,
): Promise<SendResult> {
  const labels = readLabels(alarm, tags);
  const isShared = series && !hasOwnRoute(await routing.get(), labels);
  const names = isShared ? await series.inAlarm() : [];
  const event =
    series && names.length > MOST_INCIDENTS
      ? seriesEvent(series, alarm, names, labels)
      : triggerEvent(alarm, labels);
  const refused = new Set<string>();
  let refusal: PermanentError | undefined;
  for (;;) {
    const key = keysFor(await routing.get(), labels).find((candidate) => !refused.has(candidate));
    if (key === undefined) {
      if (refusal) throw refusal;
      logger.warn('no routing key: put one into the routing secret', { alarm: alarm.name });
      return 'no-key';
    }
    try {
      await pager.send(event, key);
      return 'sent';
    } catch (error) {
      if (!(error instanceof PermanentError)) throw error;
      refusal = error;
      refused.add(key);
      logger.warn('PagerDuty refused a routing key', { alarm: alarm.name, error: error.message });
      routing.refresh();
    }
  }
}

/**
 * Resolves the incident of an alarm through every key: PagerDuty drops a resolve that has another key than its trigger, and
 * routes, tags and severities may have changed since the trigger. A key that fails does not stop the others. A key that is
 * refused is read again first, since it may have been rotated.
 *
 * @throws the error of a key; {PermanentError} only if a refused key is still in the secret
 */
export async function sendResolve(arn: string, { pager, routing }: NotifyDeps): Promise<SendResult> {
  const event = resolveEvent(arn);
  const sent = new Set<string>();
  const refusals = new Map<string, PermanentError>();
  for (;;) {
    const keys = allKeys(await routing.get());
    const remaining = keys.filter((key) => !sent.has(key) && !refusals.has(key));
    if (remaining.length === 0) {
      const refusal = keys.map((key) => refusals.get(key)).find((error) => error !== undefined);
      if (refusal) throw refusal;
      return sent.size > 0 ? 'sent' : 'no-key';
    }
    const results = await Promise.allSettled(remaining.map((key) => pager.send(event, key)));
    const errors: unknown[] = [];
    for (const [index, result] of results.entries()) {
      const key = remaining[index] ?? '';
      if (result.status === 'fulfilled') sent.add(key);
      else if (result.reason instanceof PermanentError) refusals.set(key, result.reason);
      else errors.push(result.reason);
    }
    if (errors.length > 0) throw errors[0];
    if (refusals.size > 0) routing.refresh();
  }
}

/** The tags of an alarm, or undefined where they are not readable: its description decides then how it pages. */
export async function readTags(
  alarm: Alarm,
  { alarms, logger }: Pick<AlarmDeps, 'logger'> & { alarms: Pick<AlarmDeps['alarms'], 'tags'> },
): Promise<Record<string, string> | undefined> {
  try {
    return await alarms.tags(alarm.arn);
  } catch (error) {
    if (isTransient(error)) throw error;
    logger.warn('the tags of the alarm are not readable', { alarm: alarm.name, error: errorText(error) });
    return undefined;
  }
}
