import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../shared/runtime/clock.ts';

/** Between the beginnings of two looks, in milliseconds: the reads share 40 requests a second with everybody else. */
const GAP_MS = 1000;

/**
 * A look that began this long after a message was sent has seen what the message is about, in milliseconds: clocks differ, and
 * Auto Scaling needs a moment to tell everybody the same.
 */
const SETTLED_MS = 2000;

/** One look at the whole tree, for however many messages ask for it. */
export type Looker<T> = {
  /**
   * All who ask while a look is waiting to begin share it. One who asks after it has begun gets the next one: what they
   * heard of may be newer than what it reads.
   */
  look(): Promise<T>;
  /** Whether a look that succeeded began well after this time. */
  hasSeen(at: Date): boolean;
};

/**
 * @param isGood whether a look saw and did everything
 * @param gapMs `GAP_MS`, for tests
 */
export function looker<T>(
  call: () => Promise<T>,
  isGood: (result: T) => boolean,
  clock: Clock,
  gapMs: number = GAP_MS,
): Looker<T> {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;
  let lastBegan = Number.NEGATIVE_INFINITY;
  let lastGood = Number.NEGATIVE_INFINITY;

  async function next(): Promise<T> {
    const early = lastBegan + gapMs - clock.now().getTime();
    if (early > 0) await sleep(Math.min(early, gapMs));
    waiting = undefined;
    const began = clock.now().getTime();
    lastBegan = began;
    const result = await call();
    if (isGood(result)) lastGood = began;
    return result;
  }

  return {
    look() {
      if (waiting) return waiting;
      const begun = running.then(next);
      waiting = begun;
      running = begun.catch(() => undefined);
      return begun;
    },
    hasSeen: (at) => lastGood - at.getTime() >= SETTLED_MS,
  };
}
