import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SecretReader } from '../../aws/secret-reader.ts';
import { ProviderError } from '../provider.ts';
import { type GithubBacklogMemory, githubBacklog } from './backlog.ts';

const INSTANCE = 'i-0123456789abcdef0';

type FakeJob = { id: number; status: string; labels?: string[]; created_at?: string; runner_name?: string };
type FakeRun = { id: number; status: string; jobs: FakeJob[]; created_at?: string; path?: string };

let time: number;
let runs: FakeRun[];
let calls: string[];
let reserved: number;
let memory: GithubBacklogMemory;
/** Rows per page, smaller than GitHub's. */
let pageSize: number;

const at = (minutesAgo: number) => new Date(time - minutesAgo * 60_000).toISOString();

beforeEach(() => {
  time = Date.parse('2026-11-23T08:00:00Z');
  runs = [];
  calls = [];
  reserved = 0;
  memory = { answers: new Map(), jobs: new Map() };
  pageSize = 100;
  vi.stubGlobal('fetch', async (input: string, init: RequestInit) => {
    const url = new URL(input);
    const rows = rowsOf(url);
    const page = Number(url.searchParams.get('page'));
    const [[name = '', all = []] = []] = Object.entries(rows);
    const body = JSON.stringify({ [name]: all.slice((page - 1) * pageSize, page * pageSize) });
    const etag = `W/"${body}"`;
    const isKnown = new Headers(init.headers).get('if-none-match') === etag;
    calls.push(`${isKnown ? 304 : 200} ${url.pathname.replace('/repos/acme/monorepo/actions/', '')}`);
    const headers = { etag, ...(all.length > page * pageSize && { link: '<x>; rel="next"' }) };
    return isKnown ? new Response(null, { status: 304, headers }) : new Response(body, { headers });
  });
});
afterEach(() => vi.unstubAllGlobals());

function rowsOf(url: URL): Record<string, object[]> {
  const id = /runs\/(\d+)\/jobs$/.exec(url.pathname)?.[1];
  if (id !== undefined) {
    const jobs = runs.find((run) => run.id === Number(id))?.jobs ?? [];
    return { jobs: jobs.map((job) => ({ labels: ['Linux'], created_at: at(1), ...job })) };
  }
  const status = url.searchParams.get('status');
  return {
    workflow_runs: runs
      .filter((run) => run.status === status)
      .map(({ jobs: _, ...run }) => ({
        created_at: at(1),
        workflow_id: 7,
        path: '.github/workflows/ci.yml',
        ...run,
      })),
  };
}

async function count(calls: number): Promise<void> {
  reserved += calls;
}

async function read(workflows?: string[], reserve = count) {
  const backlog = await githubBacklog(
    {
      provider: 'gha',
      apiUrl: 'https://api.github.test',
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
    workflows && new Set(workflows),
    {
      secrets: (id) =>
        ({ get: async () => (id === 'token' ? 'plain' : undefined), refresh() {} }) as SecretReader,
      tokens: new Map(),
      clock: { now: () => new Date(time) },
      memory,
    },
    { signal: new AbortController().signal },
  );
  return backlog.read(reserve);
}

const queuedIds = async () => (await read()).queued.map(({ id }) => id).sort();

test('jobs of queued and of running runs, with their labels in lower case', async () => {
  runs = [
    { id: 1, status: 'queued', jobs: [{ id: 11, status: 'queued', labels: ['Linux', 'LARGE'] }] },
    {
      id: 2,
      status: 'in_progress',
      jobs: [
        { id: 21, status: 'in_progress', runner_name: `${INSTANCE}-3` },
        { id: 22, status: 'queued' },
        { id: 23, status: 'completed', runner_name: `${INSTANCE}-2` },
      ],
    },
    { id: 3, status: 'completed', jobs: [{ id: 31, status: 'queued' }] },
  ];
  expect(await read()).toEqual({
    queued: [
      { id: '11', labels: ['linux', 'large'], workflow: ['7', 'ci.yml'], since: time - 60_000 },
      { id: '22', labels: ['linux'], workflow: ['7', 'ci.yml'], since: time - 60_000 },
    ],
    running: [{ id: '21', instanceId: INSTANCE }],
    isComplete: true,
  });
  expect(reserved).toBe(calls.length);
});

test('what waits for something else than a runner, or runs on another one, does not count', async () => {
  const others = ['waiting', 'pending', 'requested'].map((status, index) => ({ id: index, status }));
  const foreign = { id: 9, status: 'in_progress', runner_name: 'somebody-else' };
  runs = [{ id: 1, status: 'queued', jobs: [...others, foreign] }];
  expect(await read()).toEqual({ queued: [], running: [], isComplete: true });
});

test('a job or a run that has been queued for a day does not count, and its run costs no call', async () => {
  runs = [
    { id: 1, status: 'queued', created_at: at(24 * 60), jobs: [{ id: 11, status: 'queued' }] },
    {
      id: 2,
      status: 'in_progress',
      created_at: at(48 * 60),
      jobs: [
        { id: 21, status: 'queued', created_at: at(24 * 60) },
        { id: 22, status: 'queued', created_at: at(24 * 60 - 1) },
      ],
    },
  ];
  expect(await queuedIds()).toEqual(['22']);
  expect(calls.filter((call) => call.endsWith('/jobs'))).toEqual(['200 runs/2/jobs']);
});

test('an answer that has not changed is asked for by its ETag', async () => {
  runs = [{ id: 1, status: 'queued', jobs: [{ id: 11, status: 'queued', created_at: at(1) }] }];
  const fixed = runs.map((run) => ({ ...run, created_at: at(1) }));
  runs = fixed;
  const first = await read();
  calls = [];
  expect(await read()).toEqual(first);
  expect(calls).toEqual(['304 runs', '304 runs', '304 runs/1/jobs']);
  fixed[0]?.jobs.push({ id: 12, status: 'queued', created_at: at(1) });
  expect(await queuedIds()).toEqual(['11', '12']);
});

test('all pages of a list', async () => {
  pageSize = 2;
  const jobs = Array.from({ length: 5 }, (_, index) => ({ id: index, status: 'queued' }));
  runs = [1, 2, 3].map((id) => ({ id, status: 'queued', jobs: id === 3 ? jobs : [] }));
  expect(await read()).toMatchObject({ queued: { length: 5 }, isComplete: true });
});

test('a list with too many pages is a floor', async () => {
  pageSize = 1;
  runs = Array.from({ length: 4 }, (_, id) => ({ id, status: 'queued', jobs: [] }));
  expect((await read()).isComplete).toBe(false);
  runs = [
    { id: 1, status: 'queued', jobs: Array.from({ length: 6 }, (_, id) => ({ id, status: 'queued' })) },
  ];
  expect((await read()).isComplete).toBe(false);
});

test('of too many runs each has its turn, those with a waiting job first; the read is a floor', async () => {
  runs = Array.from({ length: 70 }, (_, id) => ({
    id,
    status: id < 40 ? 'in_progress' : 'queued',
    created_at: at(100 - id),
    jobs: [{ id, status: 'queued' }],
  }));
  const first = await read();
  expect(first.isComplete).toBe(false);
  expect(first.queued.map(({ id }) => Number(id))).toEqual(
    Array.from({ length: 30 }, (_, index) => 40 + index),
  );
  // The queued runs have been listed. They stay first, so the others need reads without them.
  runs = runs.filter(({ status }) => status === 'in_progress');
  time += 60_000;
  expect(new Set(await queuedIds()).size).toBe(30);
  time += 60_000;
  // The jobs that were listed a minute ago are remembered.
  const { queued } = await read();
  expect(queued).toHaveLength(40);
  const seen = queued.map(({ seenAt = time }) => seenAt);
  expect(seen.filter((seenAt) => seenAt === time)).toHaveLength(30);
  expect(seen.filter((seenAt) => seenAt === time - 60_000)).toHaveLength(10);
});

test('of more runs than reads list in the minutes for which jobs are remembered, the youngest have their turn too', async () => {
  runs = Array.from({ length: 250 }, (_, id) => ({
    id,
    status: 'queued',
    created_at: at(300 - id),
    jobs: [{ id, status: 'queued' }],
  }));
  const seen = new Set<string>();
  for (let minute = 0; minute < 9; minute += 1) {
    for (const id of await queuedIds()) seen.add(id);
    time += 60_000;
  }
  expect(seen.size).toBe(250);
  // What was listed longest ago is first again, and the turn of a run that has ended is forgotten.
  expect(memory.jobs.size).toBe(250);
  runs = runs.slice(0, 1);
  time += 5 * 60_000;
  await read();
  expect(memory.jobs.size).toBe(1);
});

describe('workflows', () => {
  test('of others cost no call', async () => {
    runs = [
      {
        id: 1,
        status: 'queued',
        path: '.github/workflows/ci.yml@refs/heads/main',
        jobs: [{ id: 11, status: 'queued' }],
      },
      { id: 2, status: 'queued', path: '.github/workflows/docs.yml', jobs: [{ id: 21, status: 'queued' }] },
    ];
    expect((await read(['ci.yml'])).queued.map(({ id }) => id)).toEqual(['11']);
    expect(calls.filter((call) => call.endsWith('/jobs'))).toEqual(['200 runs/1/jobs']);
    expect((await read(['7'])).queued).toHaveLength(2);
  });
});

test('no call is made that the budget does not allow', async () => {
  runs = [{ id: 1, status: 'queued', jobs: [] }];
  const refusal = new ProviderError('rate-limited', 'spent');
  await expect(read(undefined, () => Promise.reject(refusal))).rejects.toBe(refusal);
  expect(calls).toEqual([]);
});
