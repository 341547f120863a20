/** Timeouts of a client, in milliseconds. Without them the SDK waits for ever on a connection that went silent. */
type Timeouts = { connectionTimeout: number; socketTimeout: number; requestTimeout?: number };

const PROFILES: Record<'lambda' | 'daemon', { maxAttempts: number; timeouts: Timeouts }> = {
  /** A record has seconds, and the inbox retries for longer than any client does. */
  lambda: {
    maxAttempts: 4,
    timeouts: { connectionTimeout: 2_000, requestTimeout: 5_000, socketTimeout: 5_000 },
  },
  /** A runner sends and receives large bodies: only silence of the connection is an error, not the length of a request. */
  daemon: { maxAttempts: 4, timeouts: { connectionTimeout: 5_000, socketTimeout: 20_000 } },
};

/**
 * Settings for the constructor of an AWS SDK client; every client of the product uses them. Credentials, endpoint and, unless
 * a region is given, the region come from the environment. In a Lambda, adaptive retry mode slows the client down as soon as
 * AWS throttles, which a burst of a thousand lifecycle events needs; the time limit of a record bounds that wait.
 *
 * @param profile where the client runs
 * @example new S3Client(clientSettings('lambda'))
 */
export function clientSettings(profile: 'lambda' | 'daemon', region?: string) {
  const { maxAttempts, timeouts } = PROFILES[profile];
  return {
    maxAttempts,
    retryMode: profile === 'lambda' ? ('adaptive' as const) : ('standard' as const),
    // Without `throwOnRequestTimeout` the SDK only logs a warning when `requestTimeout` has passed.
    requestHandler: { ...timeouts, throwOnRequestTimeout: true },
    ...(region !== undefined && { region }),
  };
}
