import { setTimeout as sleep } from 'node:timers/promises';
import { isThrottling } from '../../../../shared/runtime/aws-errors.ts';

/** First pause after a failure, and the longest one, in milliseconds. */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;

/** What a repeated call may cost: it is repeated until this time, however often that is. */
export type Patience = {
  /** In milliseconds of `performance.now()`. */
  until: number;
  signal?: AbortSignal;
};

/**
 * Repeats a call to S3 while another attempt can succeed: throttling, errors of the server and of the connection.
 *
 * @throws the last error, when the time is over; an error that every attempt would meet, at once; the reason of `signal`
 */
export async function patiently<T>(patience: Patience, call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      patience.signal?.throwIfAborted();
      if (!isTemporary(error)) throw error;
      const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
      const pause = most * (0.5 + Math.random() / 2);
      if (performance.now() + pause > patience.until) throw error;
      await sleep(pause, undefined, patience.signal && { signal: patience.signal }).catch(() =>
        patience.signal?.throwIfAborted(),
      );
    }
  }
}

/** Errors of a connection and of a request that took too long, by their names and codes in Node and in the SDK. */
const CONNECTION =
  /^(ECONN|EPIPE|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|ERR_STREAM_PREMATURE_CLOSE|TimeoutError|RequestTimeout|NetworkingError|IncompleteBody)/;

/** Whether another attempt can succeed. */
export function isTemporary(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (isThrottling(error) || CONNECTION.test(error.name)) return true;
  const { code, $metadata } = error as { code?: unknown; $metadata?: { httpStatusCode?: number } };
  if (typeof code === 'string' && CONNECTION.test(code)) return true;
  const status = $metadata?.httpStatusCode ?? 0;
  return status >= 500 || status === 429 || /^(aborted|socket hang up)$/.test(error.message);
}
