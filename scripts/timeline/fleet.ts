import type { TimelineEvent } from './events.ts';

/** What the events of a timeline amount to: groups with their runners and jobs. Times are milliseconds since 1970. */
export type Fleet = {
  title: string;
  source: string;
  from: number;
  to: number;
  groups: FleetGroup[];
  incidents: Of<'incident'>[];
  snapshots: Of<'snapshot'>[];
  notes: Of<'note'>[];
  figures: Figures;
};

/** A value from a time on. */
export type Step = [at: number, value: number];

export type FleetGroup = { id: string; desired: Step[]; queued: Step[]; runners: Runner[] };

/** One instance. What is not known is undefined. */
export type Runner = {
  id: string;
  group: string;
  launchedAt?: number;
  inServiceAt?: number;
  drainAt?: number;
  endedAt?: number;
  drainWhy?: string;
  endWhy?: string;
  instanceType?: string;
  zone?: string;
  purchase?: string;
  restore?: Of<'restore'>;
  jobs: Job[];
};

export type Job = Of<'job'>;

/** Undefined: the source does not have it. */
export type Figures = {
  runners: number;
  jobs: number;
  killed: number;
  /** Milliseconds from queued to started. */
  waitP50?: number;
  waitP99?: number;
  /** Of the boots that had a snapshot to restore, in [0, 1]. */
  warmShare?: number;
  incidents: number;
};

type Of<Name extends TimelineEvent['event']> = Extract<TimelineEvent, { event: Name }>;

/** Where a runner belongs of whom no event names the group. */
const UNKNOWN_GROUP = 'unknown';

/** Folds events into a fleet. The order of the events does not matter. */
export function foldEvents(events: Iterable<TimelineEvent>): Fleet {
  const runners = new Map<string, Runner>();
  const groups = new Map<string, FleetGroup>();
  const jobs = new Map<string, Job>();
  const fleet: Pick<Fleet, 'incidents' | 'snapshots' | 'notes'> = { incidents: [], snapshots: [], notes: [] };
  const bounds = { from: Number.POSITIVE_INFINITY, to: Number.NEGATIVE_INFINITY };
  let header: Of<'timeline'> | undefined;

  const see = (...times: (number | undefined)[]) => {
    for (const time of times) {
      if (time === undefined) continue;
      bounds.from = Math.min(bounds.from, time);
      bounds.to = Math.max(bounds.to, time);
    }
  };
  const whyAt = new Map<string, number>();
  /** Of several reasons the earliest one counts, as of everything. */
  const noteWhy = (
    runner: Runner,
    key: 'drainWhy' | 'endWhy',
    { at, why }: { at: number; why?: string | undefined },
  ) => {
    const before = whyAt.get(`${key} ${runner.id}`) ?? Number.POSITIVE_INFINITY;
    if (why === undefined || at > before || (at === before && why > (runner[key] ?? ''))) return;
    whyAt.set(`${key} ${runner.id}`, at);
    runner[key] = why;
  };
  const groupOf = (id: string) => {
    const group = groups.get(id) ?? { id, desired: [], queued: [], runners: [] };
    groups.set(id, group);
    return group;
  };
  const runnerOf = (id: string, group: string | undefined) => {
    const runner: Runner = runners.get(id) ?? { id, group: group ?? UNKNOWN_GROUP, jobs: [] };
    if (group !== undefined && runner.group === UNKNOWN_GROUP) runner.group = group;
    runners.set(id, runner);
    return runner;
  };

  for (const one of events) {
    if ('at' in one) see(one.at);
    switch (one.event) {
      case 'timeline':
        header = one;
        break;
      case 'capacity':
        groupOf(one.group).desired.push([one.at, one.desired]);
        break;
      case 'backlog':
        groupOf(one.group).queued.push([one.at, one.queued]);
        break;
      case 'launch': {
        const runner = runnerOf(one.runner, one.group);
        runner.launchedAt = earlier(runner.launchedAt, one.at);
        if (one.instanceType !== undefined) runner.instanceType ??= one.instanceType;
        if (one.zone !== undefined) runner.zone ??= one.zone;
        if (one.purchase !== undefined) runner.purchase ??= one.purchase;
        break;
      }
      case 'in-service': {
        const runner = runnerOf(one.runner, one.group);
        runner.inServiceAt = earlier(runner.inServiceAt, one.at);
        break;
      }
      case 'restore': {
        const runner = runnerOf(one.runner, one.group);
        if (!runner.restore || one.at < runner.restore.at) runner.restore = one;
        break;
      }
      case 'drain': {
        const runner = runnerOf(one.runner, one.group);
        noteWhy(runner, 'drainWhy', one);
        runner.drainAt = earlier(runner.drainAt, one.at);
        break;
      }
      case 'end': {
        const runner = runnerOf(one.runner, one.group);
        noteWhy(runner, 'endWhy', one);
        runner.endedAt = earlier(runner.endedAt, one.at);
        break;
      }
      case 'job': {
        see(one.queuedAt, one.startedAt, one.finishedAt);
        const key = `${one.group} ${one.id}`;
        jobs.set(key, merge(jobs.get(key), one));
        break;
      }
      case 'incident':
        see(one.openedAt, one.resolvedAt);
        fleet.incidents.push(one);
        break;
      case 'snapshot':
        fleet.snapshots.push(one);
        break;
      case 'note':
        fleet.notes.push(one);
        break;
    }
  }

  for (const job of jobs.values()) {
    if (job.runner !== undefined) runnerOf(job.runner, job.group).jobs.push(job);
    else if (job.group !== undefined) groupOf(job.group);
  }
  for (const runner of runners.values()) groupOf(runner.group).runners.push(runner);

  const from = header?.from ?? (bounds.from === Number.POSITIVE_INFINITY ? 0 : bounds.from);
  const to = Math.max(from, header?.to ?? (bounds.to === Number.NEGATIVE_INFINITY ? from : bounds.to));
  const queuedOf = queuedSteps(jobs.values());
  for (const group of groups.values()) {
    group.desired.sort(byTime);
    group.queued = group.queued.length > 0 ? group.queued.sort(byTime) : (queuedOf.get(group.id) ?? []);
    group.runners.sort((a, b) => startOf(a) - startOf(b) || compareText(a.id, b.id));
    for (const { jobs } of group.runners)
      jobs.sort((a, b) => timeOf(a) - timeOf(b) || compareText(a.id, b.id));
  }
  return {
    title: header?.title ?? 'Fleet timeline',
    source: header?.source ?? 'events',
    from,
    to,
    groups: [...groups.values()].sort((a, b) => byNumber.compare(a.id, b.id)),
    incidents: fleet.incidents.sort((a, b) => a.openedAt - b.openedAt),
    snapshots: fleet.snapshots.sort((a, b) => a.at - b.at),
    notes: fleet.notes.sort((a, b) => a.at - b.at),
    figures: figuresOf([...runners.values()], [...jobs.values()], fleet.incidents.length),
  };
}

function earlier(known: number | undefined, at: number): number {
  return known === undefined ? at : Math.min(known, at);
}

/** Two events about one job: each adds what the other one lacks. */
function merge(known: Job | undefined, job: Job): Job {
  return known ? { ...job, ...known } : job;
}

const byTime = (a: Step, b: Step) => a[0] - b[0];
/** `gha/a-9` before `gha/a-10`. */
const byNumber = new Intl.Collator('en', { numeric: true });
const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const timeOf = (job: Job) => job.startedAt ?? job.finishedAt ?? job.queuedAt ?? 0;
const startOf = (runner: Runner) =>
  runner.launchedAt ?? runner.inServiceAt ?? runner.drainAt ?? (runner.jobs[0] ? timeOf(runner.jobs[0]) : 0);

/** The queued jobs of each group over time, counted from its jobs. */
function queuedSteps(jobs: Iterable<Job>): Map<string, Step[]> {
  const changes = new Map<string, Step[]>();
  for (const { group, queuedAt, startedAt, finishedAt } of jobs) {
    if (group === undefined || queuedAt === undefined) continue;
    const list = changes.get(group) ?? [];
    changes.set(group, list);
    list.push([queuedAt, 1]);
    const left = startedAt ?? finishedAt;
    if (left !== undefined) list.push([left, -1]);
  }
  for (const [group, list] of changes) {
    const steps: Step[] = [];
    let queued = 0;
    for (const [at, change] of list.sort(byTime)) {
      queued += change;
      const last = steps.at(-1);
      if (last?.[0] === at) last[1] = queued;
      else steps.push([at, queued]);
    }
    changes.set(group, steps);
  }
  return changes;
}

function figuresOf(runners: readonly Runner[], jobs: readonly Job[], incidents: number): Figures {
  const waits = jobs
    .flatMap(({ queuedAt, startedAt }) =>
      queuedAt === undefined || startedAt === undefined ? [] : [Math.max(0, startedAt - queuedAt)],
    )
    .sort((a, b) => a - b);
  const restores = runners.flatMap(({ restore }) =>
    restore && restore.outcome !== 'none' ? [restore.outcome] : [],
  );
  const warm = restores.filter((outcome) => outcome === 'restored' || outcome === 'previous');
  const [waitP50, waitP99] = [quantile(waits, 0.5), quantile(waits, 0.99)];
  return {
    runners: runners.length,
    jobs: jobs.length,
    killed: jobs.filter(({ result }) => result === 'killed').length,
    ...(waitP50 !== undefined && { waitP50 }),
    ...(waitP99 !== undefined && { waitP99 }),
    ...(restores.length > 0 && { warmShare: warm.length / restores.length }),
    incidents,
  };
}

/** The nearest rank: the least value that is not below the share of the values. */
export function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
