import type { Clock } from '../../shared/runtime/clock.ts';

/**
 * Requests of one instance: so many at once, and one more per second. An instance asks every 2 s while it launches, and every 10 s
 * at most afterwards. Lambda accepts ten requests per second and unit of concurrency at a URL (Lambda quotas), from all callers
 * together: this limit keeps what a flood costs behind the URL small, and not the flood itself from the URL.
 */
const BURST = 30;
const REFILL_MS = 1_000;

/** Most instances that are remembered; then all are forgotten. */
const MAX_REMEMBERED = 10_000;

/** What each instance has left, and since when. */
export type Turns = Map<string, { left: number; since: number }>;

/** Whether a request of the instance is handled. Counts per execution environment. */
export function takeTurn(instanceId: string, turns: Turns, clock: Clock): boolean {
  const now = clock.now().getTime();
  const known = turns.get(instanceId) ?? { left: BURST, since: now };
  const refilled = Math.max(0, Math.floor((now - known.since) / REFILL_MS));
  const left = Math.min(BURST, known.left + refilled);
  if (turns.size >= MAX_REMEMBERED) turns.clear();
  turns.set(instanceId, { left: Math.max(0, left - 1), since: known.since + refilled * REFILL_MS });
  return left > 0;
}
