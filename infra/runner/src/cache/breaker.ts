/** Failures in a row that switch the store off. */
const MOST_FAILURES = 3;

/** How long it is off the first time, doubling, and at most; in milliseconds. */
const FIRST_OFF_MS = 10_000;
const LONGEST_OFF_MS = 300_000;

/** How long a trial takes, as far as others wait for it, in milliseconds. */
const TRIAL_MS = 1_000;

/** Switches a store off that does not answer: a build then has misses at once, and waits for no deadline. */
export type Breaker = {
  /** Whether a request may be sent. After the time off, one request at a time tries. */
  allows(): boolean;
  /** Time until a request may be sent, in milliseconds. */
  waitMs(): number;
  succeeded(): void;
  failed(): void;
};

/**
 * @param changed gets a line when the store is switched off or on
 * @param now in milliseconds
 */
export function breaker(name: string, changed: (line: string) => void, now: () => number): Breaker {
  let failures = 0;
  let offMs = FIRST_OFF_MS;
  let offUntil: number | undefined;
  let triedAt: number | undefined;

  return {
    allows() {
      if (offUntil === undefined) return true;
      if (now() < offUntil) return false;
      // A trial that has got no result for as long as the store was off is lost.
      if (triedAt !== undefined && now() - triedAt < offMs) return false;
      triedAt = now();
      return true;
    },
    waitMs() {
      if (offUntil === undefined) return 0;
      return Math.max(TRIAL_MS, offUntil - now());
    },
    succeeded() {
      if (offUntil !== undefined) changed(`${name} answers again`);
      failures = 0;
      offMs = FIRST_OFF_MS;
      offUntil = undefined;
      triedAt = undefined;
    },
    failed() {
      failures += 1;
      // Requests that were sent before do not lengthen it.
      if (offUntil !== undefined && triedAt === undefined) return;
      if (offUntil === undefined && failures < MOST_FAILURES) return;
      if (triedAt !== undefined) offMs = Math.min(LONGEST_OFF_MS, offMs * 2);
      triedAt = undefined;
      offUntil = now() + offMs;
      changed(`${name} is switched off for ${offMs / 1000} s after ${failures} failures`);
    },
  };
}
