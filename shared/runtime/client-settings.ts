/** Tries before a call's error reaches the handler; the record loop has the longer patience. */
const MAX_ATTEMPTS = 4;

/**
 * What all SDK clients share. Adaptive mode slows a client down as soon as AWS throttles it, which is what a
 * burst of a thousand lifecycle events needs. Region, credentials and endpoint come from the environment, where
 * Lambda puts them.
 */
export function clientSettings(region?: string) {
  return {
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'adaptive',
    ...(region !== undefined && { region }),
  } as const;
}
