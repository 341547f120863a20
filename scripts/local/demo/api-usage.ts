import type { RecordedRequest } from '../ci/http.ts';
import { busiestWindow, leastGap } from './statistics.ts';

/** How much of its limits the day used at one CI provider. */
export type ApiUsage = {
  /** For the table. */
  text: string;
  /** What exceeds a limit. */
  exceeded: string[];
};

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * Limits of GitHub's REST API per installation: points per minute and endpoint, of which a read costs 1 and a write 5; requests per
 * hour, of which answers with 304 are none (REST API, "Rate limits"); registrations per 5 minutes and repository (Actions limits).
 */
const GITHUB = { pointsPerMinute: 900, requestsPerHour: 5_000, registrationsPer5Minutes: 1_500 };

/** Calls of the functions to GitHub's REST API. The listeners of the agents use another service, which has no published limit. */
export function githubUsage(requests: readonly RecordedRequest[]): ApiUsage {
  const calls = requests.filter(({ path }) => !path.startsWith('/_'));
  const registrations = calls.filter(({ path }) => path.endsWith('/generate-jitconfig'));
  const endpoints = Map.groupBy(calls, ({ method, path }) => `${method} ${path.replaceAll(/\d+/g, ':id')}`);
  const points = Math.max(
    0,
    ...[...endpoints.values()].map((each) =>
      busiestWindow(
        each.map(({ at, method }) => ({ at, weight: method === 'GET' ? 1 : 5 })),
        MINUTE_MS,
      ),
    ),
  );
  const perHour = busiestWindow(
    calls
      .filter((call) => call.status !== 304 && !registrations.includes(call))
      .map(({ at }) => ({ at, weight: 1 })),
    HOUR_MS,
  );
  const issued = busiestWindow(
    registrations.map(({ at }) => ({ at, weight: 1 })),
    5 * MINUTE_MS,
  );
  return usage([], refused(calls, [403, 429]), [
    { used: perHour, limit: GITHUB.requestsPerHour, unit: 'calls per hour' },
    { used: points, limit: GITHUB.pointsPerMinute, unit: 'points per minute' },
    { used: issued, limit: GITHUB.registrationsPer5Minutes, unit: 'registrations' },
  ]);
}

/**
 * Calls of the functions to Buildkite's Agent API: polls of the metrics, and registrations. No limit is published but the header that
 * names the least time between two polls.
 *
 * @param pollSeconds what that header has
 */
export function buildkiteUsage(requests: readonly RecordedRequest[], pollSeconds: number): ApiUsage {
  const polls = requests.filter(({ path }) => path.startsWith('/v3/metrics'));
  const registrations = requests.filter(({ path }) => path === '/v3/register');
  // The time of the header counts from an answer; a call that failed has no such header.
  const answered = polls.filter(({ status }) => status === 200).map(({ at }) => at);
  return usage(
    [`${polls.length} polls`, `${registrations.length} registrations`],
    refused([...polls, ...registrations], [429]),
    [],
    { gap: leastGap(answered), limit: pollSeconds },
  );
}

/**
 * Calls per minute and resource class of CircleCI's own scaler, which polls both numbers every 5 s (Runner Provisioner, preview 0.1.2). No
 * limit is published.
 */
const PROVISIONER_PER_MINUTE = 24;

/** Calls of the functions to CircleCI's runner API: two per resource class and poll. */
export function circleciUsage(requests: readonly RecordedRequest[]): ApiUsage {
  const calls = requests.filter(({ path }) => path.startsWith('/api/v3/runner'));
  const perClass = Map.groupBy(calls, ({ query }) => query);
  const most = [...perClass.values()].map((each) =>
    busiestWindow(
      each.map(({ at }) => ({ at, weight: 1 })),
      MINUTE_MS,
    ),
  );
  return usage([`${calls.length} calls`], refused(calls, [429]), [
    {
      used: Math.max(0, ...most),
      limit: PROVISIONER_PER_MINUTE,
      unit: "per minute and class of CircleCI's scaler",
    },
  ]);
}

type Budget = { used: number; limit: number; unit: string };

function usage(
  counts: string[],
  refusals: number,
  budgets: readonly Budget[],
  spacing?: { gap: number; limit: number },
): ApiUsage {
  const texts = budgets.map(({ used, limit, unit }) => `${used} of ${limit.toLocaleString('en-US')} ${unit}`);
  const exceeded = texts.filter((_, index) => (budgets[index]?.used ?? 0) > (budgets[index]?.limit ?? 0));
  if (refusals > 0) exceeded.push(`${refusals} calls refused for the rate`);
  if (spacing && Number.isFinite(spacing.gap)) {
    const seconds = spacing.gap / 1000;
    const text = `at least ${seconds.toFixed(1)} s apart (limit ${spacing.limit} s)`;
    texts.push(text);
    if (seconds < spacing.limit) exceeded.push(text);
  }
  return { text: [...counts, ...texts].join(', '), exceeded };
}

const refused = (calls: readonly RecordedRequest[], statuses: readonly number[]) =>
  calls.filter(({ status }) => statuses.includes(status)).length;
