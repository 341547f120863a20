import type { Clock } from '../../shared/runtime/clock.ts';
import { PermanentError, RetryableError } from '../../shared/runtime/errors.ts';
import { redactText } from '../../shared/runtime/redact.ts';
import type { IncidentEvent } from './incident.ts';

/** PagerDuty answers within a second or so; a call that takes longer is given up, in milliseconds. */
const TIMEOUT_MS = 10_000;

/** The longest wait that we let PagerDuty ask for, in seconds. */
const MAX_RETRY_AFTER = 900;

/** How much of a refusal is worth keeping, in characters. */
const MAX_REFUSAL = 500;

/** Where incidents go. */
export interface Pager {
  /**
   * Sends one event. `202` means queued, not delivered.
   *
   * @throws {PermanentError} `pagerduty-refused`: the same event would be refused again
   * @throws {RetryableError} throttled, out of order, or out of reach
   */
  send(event: IncidentEvent, routingKey: string): Promise<void>;
}

/** @param baseUrl without path, e.g. `https://events.pagerduty.com` */
export function pagerDuty(baseUrl: string, clock: Clock): Pager {
  const enqueue = new URL('/v2/enqueue', baseUrl);
  return {
    async send(event, routingKey) {
      const answer = await post(enqueue, { routing_key: routingKey, ...event });
      if (answer.status === 202) return;
      const said = `PagerDuty answered ${answer.status}: ${redactText(answer.text).slice(0, MAX_REFUSAL)}`;
      if (answer.status === 429 || answer.status === 408 || answer.status >= 500) {
        const after = retryAfter(answer.retryAfter, clock);
        throw new RetryableError(
          answer.status === 429 ? 'pagerduty-throttled' : 'pagerduty-unavailable',
          said,
          after === undefined ? {} : { afterSeconds: after },
        );
      }
      throw new PermanentError('pagerduty-refused', said);
    },
  };
}

async function post(url: URL, body: object) {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      // The key is for this host alone, and a redirected POST arrives as a GET.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { status, headers } = response;
    return { status, retryAfter: headers.get('retry-after'), text: await response.text() };
  } catch (cause) {
    // fetch's own error says only "fetch failed"; its cause has the reason, and neither has the body.
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const reason = inner instanceof Error ? inner.message : String(inner);
    throw new RetryableError('pagerduty-unreachable', `${url.host} could not be reached: ${reason}`, {
      cause,
    });
  }
}

/** `Retry-After` in seconds, whichever of its two forms it has. */
function retryAfter(header: string | null, clock: Clock): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - clock.now().getTime()) / 1000;
  if (!Number.isFinite(seconds)) return undefined;
  return Math.min(MAX_RETRY_AFTER, Math.max(1, Math.ceil(seconds)));
}
