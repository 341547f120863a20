import type { Clock } from '../runtime/clock.ts';
import { fetchFailure, readAnswer, retryAfterSeconds } from '../runtime/http-answer.ts';
import { redactText } from '../runtime/redact.ts';
import { type CallOptions, ProviderError, type RateLimit } from './provider.ts';

/** Timeout of a call, in milliseconds. */
const TIMEOUT_MS = 10_000;

/** Wait after a refusal for the rate that names no time, in seconds (GitHub, "Rate limits for the REST API": at least a minute). */
const DEFAULT_WAIT_SECONDS = 60;

/** Most characters of a provider's message in an error. */
const MAX_MESSAGE = 300;

/** Largest answer, in bytes. A hundred jobs of GitHub with all their steps have less than 1 MB. */
const MAX_ANSWER = 8 * 2 ** 20;

/** One call of a provider's API. */
export type ProviderRequest = {
  /** The provider, for messages. */
  provider: string;
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  url: string;
  headers: Readonly<Record<string, string>>;
  body?: unknown;
  /** Statuses above 299 that are results and not errors. A refusal for the rate is an error whatever its status. */
  accept?: readonly number[];
};

/** The answer to a call. `body` is parsed JSON, undefined if it is empty. */
export type ProviderAnswer = { status: number; body: unknown; headers: Headers };

/**
 * Calls a provider once, without a retry: who waits for the answer knows whether it is worth one.
 *
 * @throws {ProviderError} for every status that is neither 2xx nor in `accept`, for no answer and for an answer that is not JSON
 */
export async function callProvider(
  request: ProviderRequest,
  options: CallOptions & { clock: Clock },
): Promise<ProviderAnswer> {
  const { response, text } = await send(request, options.signal);
  const { status, headers } = response;
  const rate = rateLimit(headers, options.clock);
  if (rate) options.onRateLimit?.(rate);
  if (status >= 200 && status <= 299) return { status, headers, body: parse(request, status, text) };
  const isForRate = status === 429 || (status === 403 && isRateRefusal(headers, messageOf(text)));
  if (request.accept?.includes(status) && !isForRate) return { status, headers, body: undefined };
  throw refusal(request, status, headers, text, options.clock);
}

async function send(
  request: ProviderRequest,
  signal: AbortSignal,
): Promise<{ response: Response; text: string }> {
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: {
        'user-agent': 'hearth',
        ...(request.body !== undefined && { 'content-type': 'application/json' }),
        ...request.headers,
      },
      ...(request.body !== undefined && { body: JSON.stringify(request.body) }),
      // A redirect would carry the credential to another place, and makes a GET of a POST.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const { text, isWhole } = await readAnswer(response, MAX_ANSWER);
    if (!isWhole) throw new Error(`its answer has more than ${MAX_ANSWER} bytes`);
    return { response, text };
  } catch (cause) {
    throw new ProviderError('unavailable', `${place(request)} gave no answer: ${fetchFailure(cause)}`, {
      cause,
    });
  }
}

function parse(request: ProviderRequest, status: number, text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // The message of the parser quotes the text, which can hold a credential.
    throw new ProviderError(
      'unavailable',
      `${place(request)} answered ${status} with a body that is not JSON`,
      {
        status,
      },
    );
  }
}

function refusal(
  request: ProviderRequest,
  status: number,
  headers: Headers,
  text: string,
  clock: Clock,
): ProviderError {
  const said = messageOf(text);
  const needed = headers.get('x-accepted-github-permissions');
  const message =
    `${place(request)} answered ${status}${said && `: ${said}`}` +
    (status === 403 && needed ? ` (needs the permissions ${needed})` : '') +
    (status >= 300 && status <= 399 ? ': it moved, so correct its owner or name' : '');
  if (status === 401) return new ProviderError('credential', message, { status });
  if (status === 429 || (status === 403 && isRateRefusal(headers, said))) {
    return new ProviderError('rate-limited', message, { status, afterSeconds: waitSeconds(headers, clock) });
  }
  if (status >= 500 || status === 408) {
    const after = retryAfterSeconds(headers, clock);
    return new ProviderError('unavailable', message, {
      status,
      ...(after !== undefined && { afterSeconds: after }),
    });
  }
  return new ProviderError('settings', message, { status });
}

/** GitHub answers 403 for a spent limit too (REST API, "Exceeding the rate limit"). */
function isRateRefusal(headers: Headers, message: string): boolean {
  return (
    headers.has('retry-after') ||
    headers.get('x-ratelimit-remaining') === '0' ||
    /rate limit|abuse detection/i.test(message)
  );
}

/** The wait after a refusal for the rate: `retry-after`, else the reset of a spent limit, else a minute. */
function waitSeconds(headers: Headers, clock: Clock): number {
  const after = retryAfterSeconds(headers, clock);
  if (after !== undefined) return after;
  const rate = rateLimit(headers, clock);
  if (rate?.remaining !== 0) return DEFAULT_WAIT_SECONDS;
  return Math.max(1, Math.ceil((rate.resetAt.getTime() - clock.now().getTime()) / 1000));
}

/** The limit in `x-ratelimit-*` (GitHub) or `ratelimit-*` (Buildkite). GitHub's reset is a time, Buildkite's a number of seconds. */
function rateLimit(headers: Headers, clock: Clock): RateLimit | undefined {
  const read = (name: string) => headers.get(`x-ratelimit-${name}`) ?? headers.get(`ratelimit-${name}`);
  const [limit, remaining, reset] = ['limit', 'remaining', 'reset'].map((name) => {
    const text = read(name);
    return text !== null && /^\d+$/.test(text) ? Number(text) : undefined;
  });
  if (limit === undefined || remaining === undefined || reset === undefined) return undefined;
  const resetAt = reset > 1_000_000_000 ? reset * 1000 : clock.now().getTime() + reset * 1000;
  return { resource: read('resource') ?? 'default', limit, remaining, resetAt: new Date(resetAt) };
}

/** The field `message` of an answer. Both GitHub and Buildkite have it. */
function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? redactText(message).slice(0, MAX_MESSAGE) : '';
  } catch {
    return '';
  }
}

/** The call without its query, which is no part of what went wrong. */
function place({ provider, method, url }: ProviderRequest): string {
  const { host, pathname } = new URL(url);
  return `${provider} (${method} ${host}${pathname})`;
}
