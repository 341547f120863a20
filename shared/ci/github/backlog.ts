import * as v from 'valibot';
import { parseRegistrationName } from '../../fleet/registration.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { JobList, QueuedJob } from '../backlog.ts';
import type { Secrets } from '../credential.ts';
import { type CallOptions, ProviderError, type SettingsOf } from '../provider.ts';
import { type GithubCall, githubApi, readAnswer, type TokenCache } from './api.ts';
import { githubCredential } from './credentials.ts';

/** Rows per page of a list (REST API, "List workflow runs for a repository": at most 100). */
const PAGE = 100;

/** Most pages of one list of runs. GitHub shows at most 1,000 filtered runs. */
const MAX_RUN_PAGES = 3;

/** Most pages of the jobs of one run. A matrix has at most 256 jobs (GitHub Docs, "Actions limits"). */
const MAX_JOB_PAGES = 5;

/** Most runs whose jobs are listed in one read. The others are listed in the next ones, and the read is a floor. */
const MAX_RUNS = 30;

/** Calls at once. GitHub limits a client to 100 (REST API, "About secondary rate limits"). */
const PARALLEL = 6;

/** Age from which a queued job does not count: GitHub cancels a job after 24 hours in the queue, but not every time. */
const STALE_MS = 24 * 3_600_000;

/** Life of the jobs of a run that had no place in a read, in milliseconds. */
const REMEMBERED_MS = 5 * 60_000;

/** Most answers that are kept with their ETags; then all are forgotten, which costs a full answer each. */
const MAX_ANSWERS = 2_000;

const runSchema = v.object({
  id: v.number(),
  workflow_id: v.nullish(v.number()),
  path: v.nullish(v.string()),
  created_at: v.string(),
  run_started_at: v.nullish(v.string()),
  updated_at: v.nullish(v.string()),
});
const runsSchema = v.object({ workflow_runs: v.array(runSchema) });
type Run = v.InferOutput<typeof runSchema>;

const jobSchema = v.object({
  id: v.number(),
  status: v.string(),
  created_at: v.nullish(v.string()),
  started_at: v.nullish(v.string()),
  labels: v.optional(v.array(v.string()), []),
  runner_name: v.nullish(v.string()),
});
const jobsSchema = v.object({ jobs: v.array(jobSchema) });
type Job = v.InferOutput<typeof jobSchema>;

type Answer = { etag: string; body: unknown; hasNext: boolean };

/** What reads of the backlog remember within one execution environment. */
export type GithubBacklogMemory = {
  /** By source and path. */
  answers: Map<string, Answer>;
  /** By source and run: its jobs, and when they were listed. The jobs are forgotten after some minutes, the time stays as long as the run is listed. */
  jobs: Map<string, { jobs: Job[]; isComplete: boolean; at: number }>;
};

export type GithubBacklogShared = {
  secrets: Secrets;
  tokens: TokenCache;
  clock: Clock;
  memory: GithubBacklogMemory;
};

/** The backlog of one repository. */
export type GithubBacklog = {
  /** The account at the provider that limits are counted for. */
  installation: string;
  /**
   * @param reserve is called with a number of calls before they are made; throws if they must not be made
   * @throws {ProviderError}
   */
  read(reserve: (calls: number) => Promise<void>): Promise<JobList>;
};

type Settings = SettingsOf<'gha'> & { jobsRepository: string };

/**
 * The queued and running jobs of a repository. GitHub has no list of jobs: the runs that are queued or in progress are listed, and then
 * the jobs of each. A run is "queued" while any of its jobs waits, and "in progress" between two of them, so both lists are needed.
 *
 * @param workflows ids or file names of the workflows whose jobs count; undefined: all
 * @throws {ProviderError} `credential` if there is no usable credential
 */
export async function githubBacklog(
  settings: Settings,
  workflows: ReadonlySet<string> | undefined,
  shared: GithubBacklogShared,
  options: CallOptions,
): Promise<GithubBacklog> {
  const { owner, jobsRepository } = settings;
  const source = `${settings.apiUrl} ${owner}/${jobsRepository}`;
  const readCredential = () => githubCredential(shared.secrets, settings, source);
  const credential = await readCredential();
  const call = githubApi({
    ...options,
    ...shared,
    settings: { apiUrl: settings.apiUrl, owner, repository: jobsRepository },
    credential,
    readCredential,
    permissions: { actions: 'read' },
  });
  const base = `/repos/${encodeURIComponent(owner)}/${encodeURIComponent(jobsRepository)}/actions`;
  const account = credential.kind === 'app' ? `app ${credential.appId}` : credential.secretId;
  return {
    installation: `${settings.apiUrl} ${owner} ${account}`,
    read: (reserve) => new BacklogRead(source, base, workflows, call, shared).read(reserve),
  };
}

type Call = (call: GithubCall) => ReturnType<ReturnType<typeof githubApi>>;

class BacklogRead {
  private isComplete = true;
  private readonly source: string;
  private readonly base: string;
  private readonly workflows: ReadonlySet<string> | undefined;
  private readonly call: Call;
  private readonly memory: GithubBacklogMemory;
  private readonly now: number;

  constructor(
    source: string,
    base: string,
    workflows: ReadonlySet<string> | undefined,
    call: Call,
    { memory, clock }: GithubBacklogShared,
  ) {
    this.source = source;
    this.base = base;
    this.workflows = workflows;
    this.call = call;
    this.memory = memory;
    this.now = clock.now().getTime();
  }

  async read(reserve: (calls: number) => Promise<void>): Promise<JobList> {
    await reserve(2);
    const queued = await this.runs('queued');
    const ids = new Set(queued.map(({ id }) => id));
    const inProgress = (await this.runs('in_progress')).filter(({ id }) => !ids.has(id));
    // A run that waits for days does not start any more.
    const waiting = queued.filter((run) => this.now - lastChange(run) < STALE_MS);
    const runs = [...this.inTurn(waiting), ...this.inTurn(inProgress)];
    const chosen = runs.slice(0, MAX_RUNS);
    if (chosen.length < runs.length) this.isComplete = false;
    if (chosen.length > 0) await reserve(chosen.length);
    await inParallel(chosen, (run) => this.listJobs(run));
    const list = this.collect(runs);
    this.forget(new Set(runs.map((run) => this.key(run))));
    return list;
  }

  /** Runs that were not listed for the longest time come first, then the oldest: with many, each has its turn. */
  private inTurn(runs: readonly Run[]): Run[] {
    const listedAt = (run: Run) => this.memory.jobs.get(this.key(run))?.at ?? 0;
    return [...runs].sort(
      (a, b) => listedAt(a) - listedAt(b) || lastChange(a) - lastChange(b) || a.id - b.id,
    );
  }

  private async runs(status: 'queued' | 'in_progress'): Promise<Run[]> {
    const query = `status=${status}&exclude_pull_requests=true&per_page=${PAGE}`;
    const path = `${this.base}/runs?${query}`;
    const runs = await this.pages(path, MAX_RUN_PAGES, runsSchema, ({ workflow_runs }) => workflow_runs);
    if (!runs.isComplete) this.isComplete = false;
    const { workflows } = this;
    return workflows
      ? runs.rows.filter((run) => workflowOf(run).some((name) => workflows.has(name)))
      : runs.rows;
  }

  private async listJobs(run: Run): Promise<void> {
    const path = `${this.base}/runs/${run.id}/jobs?filter=latest&per_page=${PAGE}`;
    const { rows, isComplete } = await this.pages(path, MAX_JOB_PAGES, jobsSchema, ({ jobs }) => jobs);
    this.memory.jobs.set(this.key(run), { jobs: rows, isComplete, at: this.now });
  }

  private collect(runs: readonly Run[]): JobList {
    const queued: QueuedJob[] = [];
    const running: JobList['running'][number][] = [];
    for (const run of runs) {
      const known = this.memory.jobs.get(this.key(run));
      if (!known || this.now - known.at >= REMEMBERED_MS) continue;
      if (!known.isComplete) this.isComplete = false;
      for (const job of known.jobs) {
        // "waiting", "pending" and "requested" wait for something else than a runner.
        if (job.status === 'queued') {
          const since = queuedSince(job, run);
          if (this.now - since >= STALE_MS) continue;
          const labels = job.labels.map((label) => label.toLowerCase());
          const seen = known.at < this.now ? { seenAt: known.at } : {};
          queued.push({ id: String(job.id), labels, workflow: workflowOf(run), since, ...seen });
        }
        const instanceId = parseRegistrationName(job.runner_name ?? '')?.instanceId;
        if (job.status === 'in_progress' && instanceId !== undefined) {
          running.push({ id: String(job.id), instanceId });
        }
      }
    }
    return { queued, running, isComplete: this.isComplete };
  }

  private async pages<S extends v.GenericSchema, Row>(
    path: string,
    maxPages: number,
    schema: S,
    rowsOf: (body: v.InferOutput<S>) => Row[],
  ): Promise<{ rows: Row[]; isComplete: boolean }> {
    const rows: Row[] = [];
    for (let page = 1; page <= maxPages; page += 1) {
      const { body, hasNext } = await this.get(`${path}&page=${page}`);
      rows.push(...rowsOf(readAnswer(schema, body)));
      if (!hasNext) return { rows, isComplete: true };
    }
    return { rows, isComplete: false };
  }

  /** An answer with status 304 does not count for the hourly limit (REST API, "Best practices": conditional requests). */
  private async get(path: string): Promise<Pick<Answer, 'body' | 'hasNext'>> {
    const { answers } = this.memory;
    const key = `${this.source} ${path}`;
    const known = answers.get(key);
    const { status, body, headers } = await this.call({
      method: 'GET',
      path,
      ...(known && { ifNoneMatch: known.etag, accept: [304] }),
    });
    if (known && status === 304) return known;
    const etag = headers.get('etag');
    const answer = { etag: etag ?? '', body, hasNext: /\brel="?next"?/.test(headers.get('link') ?? '') };
    if (answers.size >= MAX_ANSWERS) answers.clear();
    if (etag === null) answers.delete(key);
    else answers.set(key, answer);
    return answer;
  }

  /**
   * A run that is still there keeps its turn: without it, the oldest runs would be first again after some minutes, and the youngest of more
   * than reads list in that time would never have a turn. Their groups would not grow beside one whose jobs wait for its maximum.
   */
  private forget(present: ReadonlySet<string>): void {
    const own = `${this.source} `;
    for (const [key, { at }] of this.memory.jobs) {
      const age = this.now - at;
      if (age < REMEMBERED_MS) continue;
      const hasTurn = age < STALE_MS && (present.has(key) || !key.startsWith(own));
      if (hasTurn) this.memory.jobs.set(key, { jobs: [], isComplete: true, at });
      else this.memory.jobs.delete(key);
    }
  }

  private key(run: Run): string {
    return `${this.source} ${run.id}`;
  }
}

function workflowOf({ workflow_id: id, path }: Run): string[] {
  // The path can end in "@" and a reference.
  const file = path?.replace(/@.*/, '').split('/').at(-1);
  return [...(id == null ? [] : [String(id)]), ...(file ? [file] : [])];
}

function lastChange({ created_at, run_started_at, updated_at }: Run): number {
  return latest([created_at, run_started_at, updated_at]);
}

function queuedSince({ created_at, started_at }: Job, run: Run): number {
  const own = latest([created_at, started_at]);
  return own > 0 ? own : lastChange(run);
}

function latest(times: readonly (string | null | undefined)[]): number {
  return Math.max(0, ...times.map((time) => Date.parse(time ?? '')).filter((time) => Number.isFinite(time)));
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}

/** @throws {ProviderError} `settings` if the group names no repository */
export function withJobsRepository(settings: SettingsOf<'gha'>): Settings {
  const jobsRepository = settings.jobsRepository ?? settings.repository;
  if (jobsRepository === undefined)
    throw new ProviderError('settings', 'the group names no repository whose jobs count: set gh_repo');
  return { ...settings, jobsRepository };
}
