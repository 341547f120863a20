/**
 * Waits for work until `signal` is aborted, even if the work ignores the signal.
 *
 * @throws `signal`'s reason; what the work throws
 */
export function raceAbort<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/**
 * Waits for work for a limited time, even if the work never ends.
 *
 * @param what names the work in the error
 * @throws after `milliseconds`; what the work throws
 */
export function limitTime<T>(milliseconds: number, what: string, work: Promise<T>): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(new Error(`${what} did not answer within ${milliseconds / 1000} s`)),
    milliseconds,
  );
  return raceAbort(limit.signal, work).finally(() => clearTimeout(timer));
}
