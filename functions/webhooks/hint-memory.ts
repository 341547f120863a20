/**
 * What one execution environment remembers, so that many webhooks become few hints. Each environment has its own; the function has at
 * most five (`function.json`), and `scaling` itself reads a source at most once in ten seconds because of hints.
 */
export type HintMemory = {
  /** By source: the time for which its latest hint is due, in milliseconds since 1970. */
  dueAt: Map<string, number>;
  /** Times of the hints of the last minute. */
  sent: number[];
  /** Signatures of the last ten minutes with their times. A delivery that is sent again has the same one. */
  seen: Map<string, number>;
};

/** Least time between two hints for one source, in milliseconds. */
const EVERY_MS = 10_000;

/** Most hints per minute, for all sources. The poll of the minute reads what has none. */
const PER_MINUTE = 60;

/** Time for which a signature is remembered, in milliseconds, and most signatures. */
const SEEN_MS = 600_000;
const MAX_SEEN = 5_000;

export function hintMemory(): HintMemory {
  return { dueAt: new Map(), sent: [], seen: new Map() };
}

/** A hint to send now; or why none is needed. */
export type NextHint = { at: number; delaySeconds: number } | 'hint-pending' | 'hints-limited';

/**
 * The next hint for a source. A hint that waits covers every job that is queued before it is due, so a burst of jobs becomes two
 * hints: one at once, and one for the rest.
 */
export function nextHint({ dueAt, sent }: HintMemory, source: string, now: number): NextHint {
  const last = dueAt.get(source) ?? Number.NEGATIVE_INFINITY;
  if (last > now) return 'hint-pending';
  if (sent.filter((at) => at > now - 60_000).length >= PER_MINUTE) return 'hints-limited';
  const delaySeconds = Math.ceil(Math.max(0, last + EVERY_MS - now) / 1000);
  return { at: now + delaySeconds * 1000, delaySeconds };
}

/** Notes a hint that was sent. */
export function noteHint(memory: HintMemory, source: string, at: number, now: number): void {
  memory.dueAt.set(source, at);
  memory.sent = [...memory.sent.filter((time) => time > now - 60_000), now];
}

/** Whether a valid signature was noted before. */
export function wasSeen({ seen }: HintMemory, signature: string, now: number): boolean {
  return (seen.get(signature) ?? Number.NEGATIVE_INFINITY) > now - SEEN_MS;
}

/** Notes the signature of a request that has its answer. The oldest ones make room. */
export function noteSeen({ seen }: HintMemory, signature: string, now: number): void {
  seen.delete(signature);
  seen.set(signature, now);
  for (const [oldest, at] of seen) {
    if (seen.size <= MAX_SEEN && at > now - SEEN_MS) break;
    seen.delete(oldest);
  }
}
