/**
 * Errors that decide the outcome of a record. A handler throws them from any depth; the record loop maps them to
 * outcomes, so no layer in between knows about queues.
 */

/** The input can never be handled: the outcome is `dead`. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
  /** Stable kebab-case identifier for logs, metrics and the attributes of the dead letter. */
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** An external dependency is not ready or refuses the call for now: the outcome is `retry`. */
export class RetryableError extends Error {
  override readonly name = 'RetryableError';
  /** Stable kebab-case identifier for logs and metrics. */
  readonly reason: string;
  /** Seconds before the next receive; the record loop's back-off if undefined. */
  readonly afterSeconds: number | undefined;

  constructor(reason: string, message: string, options?: ErrorOptions & { afterSeconds?: number }) {
    super(message, options);
    this.reason = reason;
    this.afterSeconds = options?.afterSeconds;
  }
}

/** The function's environment or packaging is wrong: nothing can be handled until the deployment is repaired. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/** One-line text of anything that was thrown, for logs and reasons. Never throws. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
}
