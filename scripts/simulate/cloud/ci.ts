import type { JobList, QueueCounts } from '../../../shared/ci/backlog.ts';
import {
  type CallOptions,
  type IssueResult,
  type KnownRegistration,
  ProviderError,
  type RegistrationClient,
} from '../../../shared/ci/provider.ts';
import type { CiProvider } from '../../../shared/fleet/names.ts';
import { DAY, type Kernel, MINUTE, type Random, SECOND } from '../kernel.ts';
import type { Calls } from './calls.ts';

/**
 * A model of the CI providers, as their documentation and their users describe them: jobs are assigned with a lag of up to 60 s and queued
 * again when the agent is gone, an idle registration is removed after minutes, the answer about busy is wrong at times, and lists lack
 * runs. All three share it; what only GitHub has is marked.
 */

/** How a job ended. `reclaimed`: with its Spot instance; `crashed`: with its instance or zone. */
export type JobEnd = 'done' | 'killed' | 'reclaimed' | 'crashed' | 'expired';

export type Job = {
  readonly id: number;
  readonly pool: Pool;
  /** Its labels, joined. */
  readonly key: string;
  readonly queuedAt: number;
  readonly seconds: number;
  readonly run: Run;
  /** Whether a group has its labels, and may take it. */
  readonly kind: 'normal' | 'unrunnable' | 'forbidden';
  startedAt: number | undefined;
  endedAt: number | undefined;
  end: JobEnd | undefined;
  starts: number;
  group: string | undefined;
  instanceId: string | undefined;
  isAssigned: boolean;
};

/** Jobs that are queued together; one row in the list of runs. */
type Run = {
  readonly id: number;
  readonly open: Set<Job>;
  listedAt: number;
  listed: { queued: Job[]; running: { id: string; instanceId: string }[] } | undefined;
};

/** An agent that waits for a job or runs one. */
export type Listener = {
  readonly name: string;
  readonly group: string;
  readonly instanceId: string;
  state: 'idle' | 'assigned' | 'busy' | 'gone';
  isAssignable: boolean;
  idleSince: number;
  /** Since when the provider shows it as busy. */
  seenBusyFrom: number;
  registration: Registered | undefined;
  /** The job begins. */
  onJob(job: Job): void;
  /** The provider does not know it any more: it ends. */
  onForgotten(): void;
};

type Registered = {
  readonly id: number;
  readonly name: string;
  readonly group: string;
  readonly pool: Pool;
  isOnline: boolean;
  /** GitHub: without labels no job is assigned. */
  hasLabels: boolean;
  listener: Listener | undefined;
  job: Job | undefined;
};

/** One list of jobs: a repository of GitHub, a cluster of Buildkite, a resource class of CircleCI. */
export type Pool = {
  readonly name: string;
  readonly provider: CiProvider;
  readonly installation: string | undefined;
  /** Groups that take jobs of these labels. */
  readonly takers: Map<string, string[]>;
  readonly waiting: Map<string, Job[]>;
  readonly idle: Map<string, Listener[]>;
  readonly runs: Set<Run>;
  readonly counts: Map<string, { queued: number; running: number }>;
  readonly registrations: Map<number, Registered>;
  readonly byName: Map<string, Registered>;
};

/**
 * Runs of each state that are read of a list, of which GitHub shows the newest first; runs whose jobs are listed per poll; and how long an
 * older list counts, in milliseconds (`shared/ci/github/backlog.ts`).
 */
const MAX_LISTED = 300;
const MAX_RUNS = 30;
const REMEMBERED_MS = 5 * MINUTE;

/** A job that was assigned and not picked up is queued again. */
const PICK_UP_MS = 60 * SECOND;

/** Points of a write of GitHub. */
const WRITE_POINTS = 5;

const LABELS_FIT = /,/;

export type CiFaults = {
  /** Whether the provider answers nothing and assigns nothing. */
  isDown(provider: CiProvider): boolean;
  /** Until when, if so. */
  downUntil(provider: CiProvider): number;
  /** Probability that the provider shows a job as running only after 25 to 60 s; a fortieth of it: not at all. */
  lies: number;
  /** Probability that an idle registration is removed after minutes. */
  forgets: number;
};

export class Ci {
  readonly pools = new Map<string, Pool>();
  /** Jobs that began, ended or expired, for the measures. */
  onStarted: (job: Job) => void = () => {};
  onEnded: (job: Job) => void = () => {};
  onQueued: (job: Job) => void = () => {};
  readonly issued = new Set<string>();
  private readonly kernel: Kernel;
  private readonly random: Random;
  private readonly calls: Calls;
  private readonly faults: CiFaults;
  private ids = 0;

  constructor(options: { kernel: Kernel; random: Random; calls: Calls; faults: CiFaults }) {
    this.kernel = options.kernel;
    this.random = options.random;
    this.calls = options.calls;
    this.faults = options.faults;
  }

  pool(name: string, provider: CiProvider, installation: string | undefined): Pool {
    const known = this.pools.get(name);
    if (known) return known;
    const pool: Pool = {
      ...{ name, provider, installation, takers: new Map(), waiting: new Map(), idle: new Map() },
      ...{ runs: new Set(), counts: new Map(), registrations: new Map(), byName: new Map() },
    };
    this.pools.set(name, pool);
    return pool;
  }

  /** Queues a run of jobs with the same labels. */
  queue(pool: Pool, key: string, lengths: readonly number[], kind: Job['kind'] = 'normal'): Job[] {
    const run: Run = { id: ++this.ids, open: new Set(), listedAt: 0, listed: undefined };
    const jobs = lengths.map((seconds): Job => {
      const job: Job = {
        ...{ id: ++this.ids, pool, key, queuedAt: this.kernel.now, seconds, run, kind, starts: 0 },
        ...{ startedAt: undefined, endedAt: undefined, end: undefined, group: undefined },
        ...{ instanceId: undefined, isAssigned: false },
      };
      run.open.add(job);
      this.wait(job, false);
      this.onQueued(job);
      return job;
    });
    pool.runs.add(run);
    // A job that waits for 24 hours is ended (GitHub Docs, "Actions limits").
    this.kernel.after(DAY, () => {
      for (const job of jobs)
        if (job.startedAt === undefined && job.end === undefined) this.close(job, 'expired');
    });
    this.match(pool, key);
    return jobs;
  }

  private wait(job: Job, isFirst: boolean): void {
    const { waiting } = job.pool;
    this.countsOf(job.pool, job.key).queued += 1;
    job.isAssigned = false;
    // No agent gets it, and it is in every list all the same.
    if (job.kind !== 'normal') return;
    const queue = waiting.get(job.key);
    if (!queue) waiting.set(job.key, [job]);
    else if (isFirst) queue.unshift(job);
    else queue.push(job);
  }

  private countsOf(pool: Pool, key: string): { queued: number; running: number } {
    let counts = pool.counts.get(key);
    if (!counts) {
      counts = { queued: 0, running: 0 };
      pool.counts.set(key, counts);
    }
    return counts;
  }

  /** An agent waits for jobs. */
  listen(listener: Listener, pool: Pool): void {
    const registration = pool.byName.get(listener.name);
    if (pool.provider === 'gha' && !registration) {
      // It was removed in the meantime.
      this.kernel.after(2 * SECOND, () => this.forget(listener));
      return;
    }
    listener.registration = registration;
    if (registration) {
      registration.isOnline = true;
      registration.listener = listener;
    }
    listener.state = 'idle';
    listener.idleSince = this.kernel.now;
    this.makeIdle(listener, pool);
    if (pool.provider !== 'gha' || !registration || !this.random.chance(this.faults.forgets)) return;
    this.kernel.after(this.random.between(2 * MINUTE, 6 * MINUTE), () => {
      if (listener.state !== 'idle' || this.faults.isDown('gha')) return;
      this.drop(registration);
      this.forget(listener);
    });
  }

  private makeIdle(listener: Listener, pool: Pool): void {
    const idle = pool.idle.get(listener.group);
    if (idle) idle.push(listener);
    else pool.idle.set(listener.group, [listener]);
    for (const [key, takers] of pool.takers) {
      if (listener.state !== 'idle') break;
      if ((pool.waiting.get(key)?.length ?? 0) > 0 && takers.includes(listener.group)) this.match(pool, key);
    }
  }

  /** Assigns what can be assigned. */
  private match(pool: Pool, key: string): void {
    if (this.faults.isDown(pool.provider)) return;
    const queue = pool.waiting.get(key);
    const takers = pool.takers.get(key) ?? [];
    while (queue && queue.length > 0) {
      const job = queue[0] as Job;
      const listener = this.takeIdle(pool, takers);
      if (!listener) return;
      queue.shift();
      this.assign(job, listener);
    }
  }

  private takeIdle(pool: Pool, takers: readonly string[]): Listener | undefined {
    const first = takers.length > 1 ? this.random.integer(0, takers.length - 1) : 0;
    for (let index = 0; index < takers.length; index += 1) {
      const idle = pool.idle.get(takers[(first + index) % takers.length] ?? '');
      while (idle && idle.length > 0) {
        const listener = idle.shift() as Listener;
        if (listener.state === 'idle' && listener.isAssignable && listener.registration?.hasLabels !== false)
          return listener;
      }
    }
    return undefined;
  }

  private assign(job: Job, listener: Listener): void {
    listener.state = 'assigned';
    job.isAssigned = true;
    const at = this.kernel.now;
    this.kernel.after(this.lag(), () => {
      if (job.end !== undefined) return;
      const isThere = listener.state === 'assigned';
      if (isThere && !this.faults.isDown(job.pool.provider)) return this.begin(job, listener);
      // The assignment is lost with its agent, or in an outage.
      if (isThere) {
        listener.state = 'idle';
        this.makeIdleLater(listener, job.pool);
      }
      this.kernel.at(Math.max(at + PICK_UP_MS, this.faults.downUntil(job.pool.provider)), () => {
        if (job.end !== undefined) return;
        this.countsOf(job.pool, job.key).queued -= 1;
        this.wait(job, true);
        this.match(job.pool, job.key);
      });
    });
  }

  private makeIdleLater(listener: Listener, pool: Pool): void {
    this.kernel.at(this.faults.downUntil(pool.provider), () => {
      if (listener.state === 'idle') this.makeIdle(listener, pool);
    });
  }

  private lag(): number {
    const share = this.random.next();
    if (share < 0.7) return this.random.between(500, 3 * SECOND);
    return share < 0.95
      ? this.random.between(3 * SECOND, 15 * SECOND)
      : this.random.between(15 * SECOND, 60 * SECOND);
  }

  private begin(job: Job, listener: Listener): void {
    listener.state = 'busy';
    listener.seenBusyFrom = this.kernel.now + this.lie();
    job.starts += 1;
    job.startedAt = this.kernel.now;
    job.group = listener.group;
    job.instanceId = listener.instanceId;
    if (listener.registration) listener.registration.job = job;
    const counts = this.countsOf(job.pool, job.key);
    counts.queued -= 1;
    counts.running += 1;
    this.onStarted(job);
    listener.onJob(job);
  }

  /** How long the provider takes the agent for idle although its job has begun. */
  private lie(): number {
    if (!this.random.chance(this.faults.lies)) return 0;
    return this.random.chance(1 / 40)
      ? Number.POSITIVE_INFINITY
      : this.random.between(25 * SECOND, 60 * SECOND);
  }

  /** The provider's view. */
  isSeenBusy(listener: Listener): boolean {
    return listener.state === 'busy' && this.kernel.now >= listener.seenBusyFrom;
  }

  /** A runner that registers itself and stays, as those of other products do: no function issues it. */
  enroll(pool: Pool, group: string, name: string): void {
    const registered: Registered = {
      ...{ id: ++this.ids, name, group, pool, isOnline: false, hasLabels: true },
      ...{ listener: undefined, job: undefined },
    };
    pool.registrations.set(registered.id, registered);
    pool.byName.set(name, registered);
  }

  /** The agent has reported the end of its job, or was lost with it. */
  ended(job: Job, listener: Listener, end: JobEnd): void {
    if (job.end !== undefined) return;
    const { provider } = job.pool;
    job.endedAt = this.kernel.now;
    job.end = end;
    listener.state = 'gone';
    this.onEnded(job);
    // GitHub gives a lost job up after about ten minutes.
    const heardAt = end === 'done' ? this.faults.downUntil(provider) : this.kernel.now + 10 * MINUTE;
    const close = () => {
      this.countsOf(job.pool, job.key).running -= 1;
      job.run.open.delete(job);
      if (job.run.open.size === 0) job.pool.runs.delete(job.run);
      if (listener.registration) this.drop(listener.registration);
    };
    if (heardAt > this.kernel.now) this.kernel.at(heardAt, close);
    else close();
  }

  private close(job: Job, end: JobEnd): void {
    job.end = end;
    job.endedAt = this.kernel.now;
    const queue = job.pool.waiting.get(job.key);
    const index = queue?.indexOf(job) ?? -1;
    if (index >= 0) queue?.splice(index, 1);
    this.countsOf(job.pool, job.key).queued -= 1;
    job.run.open.delete(job);
    if (job.run.open.size === 0) job.pool.runs.delete(job.run);
    this.onEnded(job);
    this.match(job.pool, job.key);
  }

  /** The agent ends or is lost without a job. Its registration stays, offline. */
  left(listener: Listener): void {
    listener.state = 'gone';
    const { registration } = listener;
    if (!registration) return;
    registration.isOnline = false;
    registration.listener = undefined;
    this.kernel.after(DAY, () => this.drop(registration));
  }

  private forget(listener: Listener): void {
    if (listener.state === 'gone' || listener.state === 'busy') return;
    listener.state = 'gone';
    listener.onForgotten();
  }

  private drop(registration: Registered): void {
    registration.pool.registrations.delete(registration.id);
    registration.pool.byName.delete(registration.name);
  }

  /** An outage has ended. */
  recovered(provider: CiProvider): void {
    for (const pool of this.pools.values()) {
      if (pool.provider !== provider) continue;
      for (const key of pool.waiting.keys()) this.match(pool, key);
    }
  }

  private guard(provider: CiProvider): void {
    if (this.faults.isDown(provider))
      throw new ProviderError('unavailable', `${provider} answered 503`, { status: 503 });
  }

  /** One call of GitHub. @throws {ProviderError} above a limit */
  private github(pool: Pool, kind: 'issue' | 'write' | 'read', options?: CallOptions): void {
    const { now } = this.kernel;
    const scope = pool.installation ?? '';
    const waits = [this.calls.count('github write points', scope, now, kind === 'read' ? 1 : WRITE_POINTS)];
    if (kind === 'issue') {
      waits.push(this.calls.count('github registrations', scope, now));
      waits.push(this.calls.count('github registrations of a repository', pool.name, now));
    } else {
      waits.push(this.calls.count('github core', scope, now));
    }
    const api = kind === 'issue' ? 'github registrations' : 'github core';
    const { remaining, resetAt } = this.calls.left(api, scope, now);
    options?.onRateLimit?.({
      resource: kind === 'issue' ? 'actions_runner_registration' : 'core',
      limit: kind === 'issue' ? 10_000 : 5_000,
      remaining,
      resetAt: new Date(resetAt),
    });
    const wait = Math.max(...waits);
    if (wait > 0)
      throw new ProviderError('rate-limited', 'GitHub answered 429', {
        status: 429,
        afterSeconds: Math.ceil(wait / SECOND),
      });
  }

  /** The registrations of one group, as the function `registration` sees them. */
  registrations(group: string, pool: Pool, options: CallOptions): RegistrationClient {
    const { provider, installation } = pool;
    const secret = `SECRET-${provider}`;
    if (provider !== 'gha') {
      return {
        installation: undefined,
        removable: undefined,
        issue: async ({ name }): Promise<IssueResult> => {
          // CircleCI's token is known; Buildkite is called.
          if (provider === 'bk') this.guard(provider);
          this.note(name);
          return provider === 'bk'
            ? {
                registration: {
                  ...{ provider: 'bk', name },
                  answer: { access_token: secret, endpoint: 'https://agent.buildkite.com/v3' },
                },
              }
            : { registration: { provider: 'cci', name, resourceClass: group, authToken: secret } };
        },
      };
    }
    return {
      installation,
      issue: async ({ name }): Promise<IssueResult> => {
        this.guard(provider);
        this.github(pool, 'issue', options);
        if (pool.byName.has(name)) return 'name-taken';
        this.note(name);
        const registered: Registered = {
          ...{ id: ++this.ids, name, group, pool, isOnline: false, hasLabels: true },
          ...{ listener: undefined, job: undefined },
        };
        pool.registrations.set(registered.id, registered);
        pool.byName.set(name, registered);
        // An offline registration of one job stays for a day.
        this.kernel.after(DAY, () => {
          if (!registered.isOnline) this.drop(registered);
        });
        return { registration: { provider: 'gha', name, jitConfig: secret }, id: registered.id };
      },
      removable: {
        scope: pool.name,
        stopAssignment: async (id) => {
          this.guard(provider);
          this.github(pool, 'write', options);
          const found = pool.registrations.get(id);
          if (!found) return 'gone';
          found.hasLabels = false;
          return 'stopped';
        },
        remove: async (id) => {
          this.guard(provider);
          this.github(pool, 'write', options);
          return this.removeRegistration(pool, id);
        },
        find: async (name) => {
          this.guard(provider);
          this.github(pool, 'read', options);
          const found = pool.byName.get(name);
          return found && this.known(found);
        },
        list: () => this.list(pool, options),
      },
    };
  }

  /** DELETE of a runner. GitHub refuses a busy one, unless its view is wrong: then the job is cancelled. */
  private removeRegistration(pool: Pool, id: number): 'removed' | 'busy' {
    const found = pool.registrations.get(id);
    if (!found) return 'removed';
    const { listener } = found;
    if (listener && this.isSeenBusy(listener)) return 'busy';
    this.drop(found);
    if (listener?.state === 'busy') {
      this.onRemovedBusy(listener);
      return 'removed';
    }
    if (listener && listener.state !== 'gone') {
      // The next poll of the listener shows it.
      this.kernel.after(this.random.between(SECOND, 15 * SECOND), () => this.forget(listener));
    }
    return 'removed';
  }

  /** A busy registration was removed: its job is cancelled. */
  onRemovedBusy: (listener: Listener) => void = () => {};

  private note(name: string): void {
    if (this.issued.has(name)) this.onNameReused(name);
    this.issued.add(name);
  }
  onNameReused: (name: string) => void = () => {};

  private known({ id, name, isOnline, listener }: Registered): KnownRegistration {
    return { id, name, online: isOnline, busy: listener !== undefined && this.isSeenBusy(listener) };
  }

  private async *list(pool: Pool, options: CallOptions): AsyncGenerator<KnownRegistration> {
    this.guard('gha');
    const pages = Math.max(1, Math.ceil(pool.registrations.size / 100));
    for (let page = 0; page < pages; page += 1) this.github(pool, 'read', options);
    for (const registered of [...pool.registrations.values()]) yield this.known(registered);
  }

  /** The jobs of a repository, as the client of the product reads them: at most 30 runs per poll, each in its turn. */
  async jobs(pool: Pool, options: CallOptions, reserve: (calls: number) => Promise<void>): Promise<JobList> {
    const { now } = this.kernel;
    await reserve(2);
    this.guard('gha');
    for (let call = 0; call < 2; call += 1) this.github(pool, 'read', options);
    const isWaiting = (run: Run) => [...run.open].some((job) => job.startedAt === undefined);
    const { true: waiting = [], false: inProgress = [] } = Object.groupBy(pool.runs, (run) =>
      isWaiting(run) ? 'true' : 'false',
    );
    const inTurn = (listed: Run[]) =>
      listed.slice(-MAX_LISTED).sort((a, b) => a.listedAt - b.listedAt || a.id - b.id);
    const runs = [...inTurn(waiting), ...inTurn(inProgress)];
    const chosen = runs.slice(0, MAX_RUNS);
    if (chosen.length > 0) await reserve(chosen.length);
    for (const run of chosen) {
      this.github(pool, 'read', options);
      run.listedAt = now;
      const open = [...run.open];
      run.listed = {
        queued: open.filter((job) => job.startedAt === undefined && now - job.queuedAt < DAY),
        running: open.flatMap((job) =>
          job.startedAt !== undefined && job.instanceId !== undefined
            ? [{ id: String(job.id), instanceId: job.instanceId }]
            : [],
        ),
      };
    }
    const queued: JobList['queued'][number][] = [];
    const running: { id: string; instanceId: string }[] = [];
    for (const run of runs) {
      if (!run.listed || now - run.listedAt >= REMEMBERED_MS) continue;
      for (const { id, key, queuedAt } of run.listed.queued)
        queued.push({
          ...{ id: String(id), labels: key.split(LABELS_FIT), workflow: [], since: queuedAt },
          ...(run.listedAt < now && { seenAt: run.listedAt }),
        });
      running.push(...run.listed.running);
    }
    return { queued, running, isComplete: chosen.length === pool.runs.size };
  }

  /** The numbers of every queue of a cluster. */
  async metrics(pool: Pool): Promise<Map<string, QueueCounts>> {
    this.calls.count(pool.provider === 'bk' ? 'buildkite metrics' : 'circleci', pool.name, this.kernel.now);
    this.guard(pool.provider);
    return new Map([...pool.counts].map(([key, counts]) => [key, { ...counts }]));
  }

  /** The oldest jobs that wait and could run, with the ids of the groups that could take them. */
  *oldest(): Generator<{ job: Job; takers: readonly string[] }> {
    for (const pool of this.pools.values()) {
      for (const [key, jobs] of pool.waiting) {
        const [job] = jobs;
        if (job) yield { job, takers: pool.takers.get(key) ?? [] };
      }
    }
  }

  /** Jobs that wait and could run, with the time of the oldest. */
  backlog(): { queued: number; oldest: number } {
    let queued = 0;
    let oldest = this.kernel.now;
    for (const pool of this.pools.values()) {
      for (const jobs of pool.waiting.values()) {
        for (const job of jobs) {
          queued += 1;
          oldest = Math.min(oldest, job.queuedAt);
        }
      }
    }
    return { queued, oldest };
  }
}
