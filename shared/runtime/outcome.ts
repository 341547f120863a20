/**
 * The four outcomes of a record. Every handler returns exactly one of them. Only the record loop acts on it, so
 * nothing is swallowed and nothing is retried for ever.
 */
export type Outcome =
  | { outcome: 'done'; detail?: Detail }
  /** Quiet: the record has no log line of its own. Whoever returns the outcome counts and logs. */
  | { outcome: 'skipped'; reason: string; detail?: Detail; quiet?: true }
  | { outcome: 'retry'; reason: string; afterSeconds?: number; detail?: Detail }
  | { outcome: 'dead'; reason: string; detail?: Detail };

/** There is nothing to do. */
export type Skipped = Extract<Outcome, { outcome: 'skipped' }>;

/** Further facts for the log line of a record. Must hold no secret; the logger redacts what looks like one. */
export type Detail = Record<string, unknown>;

/** The requested change is made, or was made before. */
export function done(detail?: Detail): Outcome {
  return { outcome: 'done', ...(detail && { detail }) };
}

/**
 * There is nothing to do, for example because the event is about a group of another deployment.
 *
 * @param reason stable kebab-case identifier, listed in `docs/outcomes.md`
 */
export function skipped(reason: string, detail?: Detail): Skipped {
  return { outcome: 'skipped', reason, ...(detail && { detail }) };
}

/**
 * The record stays in the inbox and is received again, until the function's `retryFor` has passed.
 *
 * @param reason stable kebab-case identifier, listed in `docs/outcomes.md`
 * @param options.afterSeconds wait before the next receive (default: exponential back-off with jitter)
 */
export function retryLater(
  reason: string,
  options: { afterSeconds?: number; detail?: Detail } = {},
): Outcome {
  return { outcome: 'retry', reason, ...options };
}

/**
 * The record can never be handled. It goes to the dead-letter queue at once, where an alarm watches.
 *
 * @param reason stable kebab-case identifier, listed in `docs/outcomes.md`
 */
export function dead(reason: string, detail?: Detail): Outcome {
  return { outcome: 'dead', reason, ...(detail && { detail }) };
}
