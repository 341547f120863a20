import type { SecretReader } from '../../shared/aws/secret-reader.ts';
import { githubBacklog } from '../../shared/ci/github/backlog.ts';

/**
 * `npm run bench:polls`: how many calls the backlog of GitHub costs, counted with the client of the function `scaling` against answers in
 * memory. Time plays no part, so every run has the same figures. "Counted" calls are those without an answer 304, which GitHub does
 * not count for the hourly limit of an installation (REST API, "Best practices"). In a quiet minute nothing changes; in a busy one a
 * job of every run does.
 */

/** Calls per hour of an installation (REST API, "Rate limits": at least 5,000). */
const LIMIT_PER_HOUR = 5_000;

const FLEETS = [
  { groups: 1, repositories: 1, runs: 3 },
  { groups: 20, repositories: 1, runs: 20 },
  { groups: 20, repositories: 20, runs: 3 },
  { groups: 200, repositories: 1, runs: 100 },
  { groups: 200, repositories: 200, runs: 1 },
] as const;

/** Minutes that are counted, after a first one that fills the caches. */
const MINUTES = 10;

type Count = { calls: number; counted: number };

/** @returns calls per minute of one repository, polled once per minute */
async function count(runs: number, isBusy: boolean): Promise<Count> {
  let minute = 0;
  const total: Count = { calls: 0, counted: 0 };
  const time = () => Date.parse('2026-11-23T08:00:00Z') + minute * 60_000;
  globalThis.fetch = async (input, init) => {
    const body = answer(new URL(String(input)), runs, isBusy ? minute : 0);
    const etag = `W/"${body}"`;
    const isKnown = new Headers(init?.headers).get('if-none-match') === etag;
    total.calls += 1;
    if (!isKnown) total.counted += 1;
    return isKnown ? new Response(null, { status: 304 }) : new Response(body, { headers: { etag } });
  };
  const secret = { get: async () => 'token', refresh() {} } as SecretReader;
  const backlog = await githubBacklog(
    {
      provider: 'gha',
      apiUrl: 'https://api.github.com',
      owner: 'acme',
      jobsRepository: 'monorepo',
      labels: ['linux'],
      appSecret: 'app',
      tokenSecret: 'token',
      role: 'role',
      autoScalingGroup: 'group',
      minRunners: 0,
      maxRunners: 1,
      takesJobs: true,
    },
    undefined,
    {
      secrets: (id) => (id === 'token' ? secret : { ...secret, get: async () => undefined }),
      tokens: new Map(),
      clock: { now: () => new Date(time()) },
      memory: { answers: new Map(), jobs: new Map() },
    },
    { signal: new AbortController().signal },
  );
  await backlog.read(async () => {});
  Object.assign(total, { calls: 0, counted: 0 });
  for (minute = 1; minute <= MINUTES; minute += 1) await backlog.read(async () => {});
  return { calls: total.calls / MINUTES, counted: total.counted / MINUTES };
}

function answer({ pathname, searchParams }: URL, runs: number, version: number): string {
  const created_at = '2026-11-23T07:59:00Z';
  if (pathname.endsWith('/jobs'))
    return JSON.stringify({ jobs: [{ id: version, status: 'queued', created_at, labels: ['linux'] }] });
  const isQueued = searchParams.get('status') === 'queued';
  const all = Array.from({ length: isQueued ? runs : 0 }, (_, id) => ({ id, created_at, version }));
  return JSON.stringify({ workflow_runs: all });
}

const rows = [];
for (const { groups, repositories, runs } of FLEETS) {
  const busy = await count(runs, true);
  const quiet = await count(runs, false);
  const perHour = Math.round(busy.counted * repositories * 60);
  rows.push({
    groups,
    repositories,
    'active runs each': runs,
    'calls per minute': busy.calls * repositories,
    'counted, busy': Math.round(busy.counted * repositories),
    'counted, quiet': quiet.counted * repositories,
    'per hour, busy': perHour,
    'of 5,000': `${Math.round((100 * perHour) / LIMIT_PER_HOUR)} %`,
  });
}
console.table(rows);
