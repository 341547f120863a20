import type { Clock } from '../../../shared/runtime/clock.ts';
import { PermanentError, RetryableError } from '../../../shared/runtime/errors.ts';
import { fetchFailure, readAnswer, retryAfterSeconds } from '../../../shared/runtime/http-answer.ts';
import { redactText } from '../../../shared/runtime/redact.ts';
import type { Pager } from '../ports.ts';

/** Timeout of a call, in milliseconds. */
const TIMEOUT_MS = 10_000;

/** Longest `Retry-After` that is obeyed, in seconds. */
const MAX_RETRY_AFTER = 900;

/** Most characters of a refusal in an error. */
const MAX_REFUSAL = 500;

/** Bytes after which an answer is not read any further. */
const MAX_READ = 10_000;

/**
 * The Events API v2 of PagerDuty.
 *
 * @param baseUrl without a path, for example `https://events.pagerduty.com`
 */
export function pagerDuty(baseUrl: string, clock: Clock): Pager {
  const enqueue = new URL('/v2/enqueue', baseUrl);
  return {
    async send(event, routingKey) {
      const answer = await post(enqueue, { routing_key: routingKey, ...event });
      if (answer.status === 202) return;
      const message = `PagerDuty answered ${answer.status}: ${redactText(answer.text).slice(0, MAX_REFUSAL)}`;
      if (answer.status === 429 || answer.status === 408 || answer.status >= 500) {
        const after = retryAfterSeconds(answer.headers, clock);
        throw new RetryableError(
          answer.status === 429 ? 'pagerduty-throttled' : 'pagerduty-unavailable',
          message,
          after === undefined ? {} : { afterSeconds: Math.min(MAX_RETRY_AFTER, after) },
        );
      }
      throw new PermanentError('pagerduty-refused', message);
    },
  };
}

async function post(url: URL, body: object) {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      // The routing key is for this host only, and a redirected POST becomes a GET.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { status, headers } = response;
    return { status, headers, ...(await readAnswer(response, MAX_READ)) };
  } catch (cause) {
    throw new RetryableError(
      'pagerduty-unreachable',
      `${url.host} could not be reached: ${fetchFailure(cause)}`,
      { cause },
    );
  }
}
