import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../shared/runtime/clock.ts';

/** Least time between the starts of two calls, in milliseconds: all reads of an account share 40 requests per second. */
const GAP_MS = 1000;

/**
 * A call that starts this long after a message was sent covers the message, in milliseconds. Clocks differ, and reads of Auto
 * Scaling are eventually consistent.
 */
const MARGIN_MS = 2000;

/** One call for any number of concurrent requests. */
export type SingleFlight<T> = {
  /**
   * Requests that arrive before a call starts share it. A request that arrives after the start gets the next call, because
   * its cause may be newer than what the running call reads.
   */
  run(signal: AbortSignal): Promise<T>;
  /** Whether a complete call started well after this time. */
  covers(at: Date): boolean;
};

/**
 * @param isComplete whether a call read and did everything
 * @param gapMs `GAP_MS`, for tests
 */
export function singleFlight<T>(
  call: (signal: AbortSignal) => Promise<T>,
  isComplete: (result: T) => boolean,
  clock: Clock,
  gapMs: number = GAP_MS,
): SingleFlight<T> {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;
  let lastStart = Number.NEGATIVE_INFINITY;
  let lastComplete = Number.NEGATIVE_INFINITY;

  async function next(signal: AbortSignal): Promise<T> {
    const early = lastStart + gapMs - clock.now().getTime();
    if (early > 0) await sleep(Math.min(early, gapMs));
    waiting = undefined;
    const start = clock.now().getTime();
    lastStart = start;
    const result = await call(signal);
    if (isComplete(result)) lastComplete = start;
    return result;
  }

  return {
    run(signal) {
      if (waiting) return waiting;
      const started = running.then(() => next(signal));
      waiting = started;
      running = started.catch(() => undefined);
      return started;
    },
    covers: (at) => lastComplete - at.getTime() >= MARGIN_MS,
  };
}
