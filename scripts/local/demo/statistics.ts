/**
 * The value that so many percent of the values do not exceed (nearest rank).
 *
 * @param values at least one
 * @param percent above 0, at most 100
 */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined) throw new Error('a percentile of no values');
  return value;
}

/** Something that happened at `at`, in milliseconds, and counts `weight`. */
export type Weighted = { at: number; weight: number };

/** The largest sum of weights within any window of this length, in milliseconds. */
export function busiestWindow(events: readonly Weighted[], windowMs: number): number {
  const sorted = [...events].sort((a, b) => a.at - b.at);
  let most = 0;
  let sum = 0;
  let first = 0;
  for (const { at, weight } of sorted) {
    sum += weight;
    for (let oldest = sorted[first]; oldest && oldest.at <= at - windowMs; oldest = sorted[first]) {
      sum -= oldest.weight;
      first += 1;
    }
    most = Math.max(most, sum);
  }
  return most;
}

/** The shortest time between two successive of these times; Infinity with fewer than two. */
export function leastGap(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted
    .slice(1)
    .reduce((least, at, index) => Math.min(least, at - (sorted[index] ?? at)), Number.POSITIVE_INFINITY);
}
