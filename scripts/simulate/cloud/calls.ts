import { HOUR, MINUTE, SECOND } from '../kernel.ts';

/** A published limit of an API: so many calls in a window. */
export type Limit = { calls: number; windowMs: number; source: string };

/**
 * Published limits, by API. What has no entry has no published number: its peak is measured and compared with nothing. Limits of GitHub
 * count per installation, those of Parameter Store per region, that of PagerDuty per key, and the others per scope of the caller.
 */
export const LIMITS = {
  'github write points': { calls: 900, windowMs: MINUTE, source: 'REST API, "About secondary rate limits"' },
  'github core': { calls: 5_000, windowMs: HOUR, source: 'REST API, "Rate limits"' },
  'github registrations': {
    calls: 10_000,
    windowMs: HOUR,
    source: 'header x-ratelimit-limit of generate-jitconfig',
  },
  'github registrations of a repository': {
    calls: 1_500,
    windowMs: 5 * MINUTE,
    source: 'GitHub Docs, "Actions limits"',
  },
  'buildkite metrics': {
    calls: 1,
    windowMs: 10 * SECOND,
    source: 'header Buildkite-Agent-Metrics-Poll-Duration',
  },
  'ssm reads': { calls: 40, windowMs: SECOND, source: 'Systems Manager quotas, default throughput' },
  'ssm writes': { calls: 3, windowMs: SECOND, source: 'AWS Support: 3 writes per second' },
  pagerduty: { calls: 120, windowMs: MINUTE, source: 'Events API v2' },
} as const satisfies Record<string, Limit>;

export type Api =
  | keyof typeof LIMITS
  | 'autoscaling describe'
  | 'autoscaling change'
  | 's3'
  | 'circleci'
  | 'sqs send';

type Use = { windowStart: number; inWindow: number; secondStart: number; inSecond: number };

/** Counts calls per API and scope. */
export class Calls {
  readonly total = new Map<Api, number>();
  /** Most calls of one scope in one window of the limit. Windows are aligned, as those of the providers are. */
  readonly peakInWindow = new Map<Api, number>();
  readonly peakPerSecond = new Map<Api, number>();
  /** Calls above a limit. */
  readonly above = new Map<Api, number>();
  private readonly uses = new Map<Api, Map<string, Use>>();

  /** @returns milliseconds until the window ends, if the call is above its limit; 0 otherwise */
  count(api: Api, scope: string, now: number, calls = 1): number {
    const limit: Limit | undefined = LIMITS[api as keyof typeof LIMITS];
    const windowMs = limit?.windowMs ?? SECOND;
    const use = this.use(api, scope);
    if (now - use.windowStart >= windowMs) {
      use.windowStart = now - (now % windowMs);
      use.inWindow = 0;
    }
    if (now - use.secondStart >= SECOND) {
      use.secondStart = now - (now % SECOND);
      use.inSecond = 0;
    }
    use.inWindow += calls;
    use.inSecond += calls;
    raise(this.peakInWindow, api, use.inWindow);
    raise(this.peakPerSecond, api, use.inSecond);
    this.total.set(api, (this.total.get(api) ?? 0) + calls);
    if (limit === undefined || use.inWindow <= limit.calls) return 0;
    this.above.set(api, (this.above.get(api) ?? 0) + 1);
    return use.windowStart + windowMs - now;
  }

  private use(api: Api, scope: string): Use {
    let scopes = this.uses.get(api);
    if (!scopes) {
      scopes = new Map();
      this.uses.set(api, scopes);
    }
    let use = scopes.get(scope);
    if (!use) {
      use = { windowStart: 0, inWindow: 0, secondStart: 0, inSecond: 0 };
      scopes.set(scope, use);
    }
    return use;
  }

  /** Calls that are left in the present window. */
  left(api: keyof typeof LIMITS, scope: string, now: number): { remaining: number; resetAt: number } {
    const { calls, windowMs } = LIMITS[api];
    const use = this.use(api, scope);
    const isCurrent = now - use.windowStart < windowMs;
    const start = isCurrent ? use.windowStart : now - (now % windowMs);
    return { remaining: Math.max(0, calls - (isCurrent ? use.inWindow : 0)), resetAt: start + windowMs };
  }
}

function raise(peaks: Map<Api, number>, api: Api, value: number): void {
  if (value > (peaks.get(api) ?? 0)) peaks.set(api, value);
}
