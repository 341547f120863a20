import type { Clock } from '../../../shared/runtime/clock.ts';
import { PermanentError, RetryableError } from '../../../shared/runtime/errors.ts';
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
        const after = retryAfter(answer.retryAfter, clock);
        throw new RetryableError(
          answer.status === 429 ? 'pagerduty-throttled' : 'pagerduty-unavailable',
          message,
          after === undefined ? {} : { afterSeconds: after },
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
    return { status, retryAfter: headers.get('retry-after'), text: await beginOf(response) };
  } catch (cause) {
    // The message of fetch's own error is "fetch failed". Its cause has the reason. Neither contains the body.
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const reason = inner instanceof Error ? inner.message : String(inner);
    throw new RetryableError('pagerduty-unreachable', `${url.host} could not be reached: ${reason}`, {
      cause,
    });
  }
}

/** The first bytes of an answer. The rest, which can be of any length, is not received. */
async function beginOf({ body }: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body ?? []) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= MAX_READ) break;
  }
  return Buffer.concat(pieces).toString('utf8', 0, MAX_READ);
}

/** `Retry-After` in seconds, from either of its two forms. */
function retryAfter(header: string | null, clock: Clock): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - clock.now().getTime()) / 1000;
  if (!Number.isFinite(seconds)) return undefined;
  return Math.min(MAX_RETRY_AFTER, Math.max(1, Math.ceil(seconds)));
}
