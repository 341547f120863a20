import type { Clock } from '../../shared/runtime/clock.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import type { Pager } from './ports.ts';

/** Calls per minute that PagerDuty takes per routing key (Events API v2, "Rate limits"). */
export const CALLS_PER_MINUTE = 120;

/** Calls per minute and key of one execution environment: `function.json` allows five environments at once. */
export const PER_ENVIRONMENT = 24;

const MINUTE_MS = 60_000;

/**
 * A pager that keeps to a number of calls per minute and key. A call beyond it is refused with the time of its turn, so that a record
 * returns to the inbox once, and not at each back-off.
 *
 * @param perMinute calls within any 60 s. Each execution environment of a function has a limit of its own, so their sum counts.
 */
export function pacedPager(pager: Pager, perMinute: number, clock: Clock): Pager {
  /** Times of the last calls, and turns that were given to refused calls; per key, in milliseconds, in order. */
  const calls = new Map<string, { made: number[]; turns: number[] }>();
  return {
    async send(event, routingKey) {
      const now = clock.now().getTime();
      const known = calls.get(routingKey) ?? { made: [], turns: [] };
      calls.set(routingKey, known);
      known.made = known.made.filter((at) => at > now - MINUTE_MS);
      known.turns = known.turns.filter((at) => at > now);
      if (known.made.length >= perMinute) {
        const before = [...known.made, ...known.turns].at(-perMinute) ?? now;
        const turn = before + MINUTE_MS;
        known.turns.push(turn);
        throw new RetryableError(
          'pagerduty-throttled',
          `this process has sent ${perMinute} events within a minute, and PagerDuty refuses more than ${CALLS_PER_MINUTE} per key`,
          { afterSeconds: Math.ceil((turn - now) / 1000) },
        );
      }
      known.made.push(now);
      await pager.send(event, routingKey);
    },
  };
}
