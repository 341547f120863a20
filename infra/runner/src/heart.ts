import { setTimeout as sleep } from 'node:timers/promises';

/** Share of the interval by which beats differ, so that a thousand runners do not beat together. */
const JITTER = 0.1;

/**
 * Calls `beat` at once and then every `seconds`, until it is stopped.
 *
 * @returns what stops it
 */
export function startHeart(seconds: number, beat: () => Promise<void>): () => Promise<void> {
  const stop = new AbortController();
  const beating = (async () => {
    while (!stop.signal.aborted) {
      await beat();
      const wait = seconds * 1000 * (1 - JITTER * Math.random());
      await sleep(wait, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return async () => {
    stop.abort();
    await beating;
  };
}
