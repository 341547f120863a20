import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { errorText, PermanentError } from '../../shared/runtime/errors.ts';
import type { Alarm, AlarmSource } from './alarm-source.ts';
import { resolveEvent, triggerEvent } from './incident.ts';
import { readLabels } from './labels.ts';
import type { Pager } from './pagerduty.ts';
import { allKeys, keysFor, type Routing } from './routes.ts';

export type TellDeps = {
  alarms: Pick<AlarmSource, 'tags'>;
  pager: Pager;
  routing: Routing;
  warn: (message: string, detail: Record<string, unknown>) => void;
};

/** `no-key`: the routing secret has no key for it. */
export type Told = 'sent' | 'no-key';

/**
 * Opens the alarm's incident, or adds to it if it is open. A key that PagerDuty refuses may have been rotated since it was
 * read, so the secret is read again; if the key is still the same, the next route that would fit is taken: a page through
 * the default route is better than none.
 *
 * @throws {PermanentError} if PagerDuty refuses every key
 */
export async function tellTrigger(
  alarm: Alarm,
  tags: Readonly<Record<string, string>>,
  deps: TellDeps,
): Promise<Told> {
  const labels = readLabels(alarm, tags);
  const event = triggerEvent(alarm, labels);
  const refused = new Set<string>();
  let refusal: PermanentError | undefined;
  for (;;) {
    const key = keysFor(await deps.routing.get(), labels).find((candidate) => !refused.has(candidate));
    if (key === undefined) {
      if (refusal) throw refusal;
      return 'no-key';
    }
    try {
      await deps.pager.send(event, key);
      return 'sent';
    } catch (error) {
      if (!(error instanceof PermanentError)) throw error;
      refusal = error;
      refused.add(key);
      deps.warn('PagerDuty refused a routing key', { alarm: alarm.name, error: error.message });
      deps.routing.refresh();
    }
  }
}

/**
 * Resolves the alarm's incident through every key there is: PagerDuty drops a resolve that comes through another key than
 * its trigger did, and routes, tags and severities may have changed since. One key that fails keeps none of the others
 * from being told, and one that is refused is read again first: it may have been rotated.
 *
 * @throws what a key failed with; {PermanentError} only if a key is refused that is still in the secret
 */
export async function tellResolve(arn: string, deps: TellDeps): Promise<Told> {
  const event = resolveEvent(arn);
  const told = new Set<string>();
  const refusals = new Map<string, PermanentError>();
  for (;;) {
    const keys = allKeys(await deps.routing.get());
    const left = keys.filter((key) => !told.has(key) && !refusals.has(key));
    if (left.length === 0) {
      const refusal = keys.map((key) => refusals.get(key)).find((error) => error !== undefined);
      if (refusal) throw refusal;
      return told.size > 0 ? 'sent' : 'no-key';
    }
    const results = await Promise.allSettled(left.map((key) => deps.pager.send(event, key)));
    const others: unknown[] = [];
    for (const [index, result] of results.entries()) {
      const key = left[index] ?? '';
      if (result.status === 'fulfilled') told.add(key);
      else if (result.reason instanceof PermanentError) refusals.set(key, result.reason);
      else others.push(result.reason);
    }
    if (others.length > 0) throw others[0];
    if (refusals.size > 0) deps.routing.refresh();
  }
}

/** Without its tags an alarm still pages, by what its description says. */
export async function tagsOf(alarm: Alarm, deps: TellDeps): Promise<Record<string, string>> {
  try {
    return await deps.alarms.tags(alarm.arn);
  } catch (error) {
    if (isTransient(error)) throw error;
    deps.warn('the alarm pages without its tags', { alarm: alarm.name, error: errorText(error) });
    return {};
  }
}
