/**
 * Named errors that decide how a record ends. A handler throws these from any depth; the record loop turns
 * them into outcomes, so no layer in between needs to know about queues.
 */

/** Input that can never be handled, however often it is tried: the record goes to the dead-letter queue at once. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
  /** Stable, kebab-case word for logs, metrics and the dead-letter attributes. */
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Something outside is not ready or refuses for now: the record stays in the inbox and is tried later. */
export class RetryableError extends Error {
  override readonly name = 'RetryableError';
  /** Stable, kebab-case word for logs and metrics. */
  readonly reason: string;
  /** Seconds to wait before the next try; the record loop's own back-off if absent. */
  readonly afterSeconds: number | undefined;

  constructor(reason: string, message: string, options?: ErrorOptions & { afterSeconds?: number }) {
    super(message, options);
    this.reason = reason;
    this.afterSeconds = options?.afterSeconds;
  }
}

/** The function's environment or its packaging is wrong: nothing can be handled until someone repairs it. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/** The text of anything that was thrown, for logs and reasons; never throws itself. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
}
