/**
 * The four ways in which a record can end. Every handler returns exactly one of them, and the record loop
 * alone acts on it, so that nothing is swallowed and nothing is tried for ever.
 */
export type Outcome =
  | { outcome: 'done'; detail?: Detail }
  | { outcome: 'skipped'; reason: string; detail?: Detail }
  | { outcome: 'retry'; reason: string; afterSeconds?: number; deadline?: Date; detail?: Detail }
  | { outcome: 'dead'; reason: string; detail?: Detail };

/** Extra facts for the log line of a record. Must hold no secret; the logger redacts what looks like one. */
export type Detail = Record<string, unknown>;

/** The record did what it asked for, or found it done already. */
export function done(detail?: Detail): Outcome {
  return { outcome: 'done', ...(detail && { detail }) };
}

/** There was nothing to do, for a reason worth a word in the log: another team's group, a test notification. */
export function skipped(reason: string, detail?: Detail): Outcome {
  return { outcome: 'skipped', reason, ...(detail && { detail }) };
}

/**
 * Not now: the record stays in the inbox.
 *
 * @param reason stable, kebab-case word
 * @param options.afterSeconds wait before the next try (default: exponential back-off with jitter)
 * @param options.deadline absolute time after which trying serves nothing; past it the record is dead
 */
export function retryLater(
  reason: string,
  options: { afterSeconds?: number; deadline?: Date; detail?: Detail } = {},
): Outcome {
  return { outcome: 'retry', reason, ...options };
}

/** Permanent: to the dead-letter queue at once, where an alarm sees it, not after N useless tries. */
export function dead(reason: string, detail?: Detail): Outcome {
  return { outcome: 'dead', reason, ...(detail && { detail }) };
}
