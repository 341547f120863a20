import { setTimeout as sleep } from 'node:timers/promises';

/** Share of the interval by which heartbeats differ, so that a thousand runners do not send at the same moment. */
const JITTER = 0.1;

/**
 * Calls `send` at once and then every `seconds`, until it is stopped. A call that takes long delays no other work.
 *
 * @returns a function that stops it
 */
export function startHeartbeat(seconds: number, send: () => Promise<unknown>): () => Promise<void> {
  const stop = new AbortController();
  const sending = (async () => {
    while (!stop.signal.aborted) {
      await send();
      const wait = seconds * 1000 * (1 - JITTER * Math.random());
      await sleep(wait, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return async () => {
    stop.abort();
    await sending;
  };
}
