import type { Figures, Fleet, Job, Runner, Step } from './fleet.ts';

/**
 * A fleet as the page contains it. Columns instead of objects, texts once, and times as differences: a fleet of 10,000 runners with
 * 200,000 jobs stays a page of a few megabytes. Times are whole units since `from`; ABSENT is a fact that is not known.
 *
 * This file runs in Node and in the page.
 */
export type CompactFleet = {
  version: 1;
  title: string;
  source: string;
  /** Milliseconds since 1970. */
  from: number;
  to: number;
  /** Milliseconds of a unit of time. */
  unit: number;
  /** Every text but ids; the columns below have indexes into it. */
  texts: string[];
  groups: { id: string; desired: number[]; queued: number[]; runners: number }[];
  /** In the order of the groups. The launch is the difference to the runner before, later times are differences to the launch. */
  runners: Columns<'launched' | 'inService' | 'drain' | 'end' | 'jobs' | RunnerText> & { id: string };
  restores: Columns<'runner' | 'at' | 'outcome' | 'set' | 'snapshot' | 'seconds'>;
  /** In the order of the runners. A start is the difference to the end of the job before, a wait and a length are durations. */
  jobs: Columns<'started' | 'wait' | 'length' | 'name' | 'result'> & { id: string };
  incidents: { id: string; severity: string; summary: string; opened: number; resolved: number }[];
  snapshots: { at: number; set: string; change: string; snapshot: string; reason: string }[];
  notes: { at: number; level: string; text: string; runner: string; group: string }[];
  figures: Figures;
};

type Columns<Name extends string> = Record<Name, number[]>;
type RunnerText = 'type' | 'zone' | 'purchase' | 'drainWhy' | 'endWhy';

/** No value: differences can be negative, but not that far. */
export const ABSENT = -1e15;

/** Between ids: no text of an event contains it. */
const SEPARATOR = '\n';

/** From this length on, in milliseconds, times are tenths of a second: no screen shows more, and digits are most of the page. */
const LONG_MS = 6 * 3_600_000;

/** @returns the fleet in the format of the page */
export function compact(fleet: Fleet): CompactFleet {
  const texts = textTable();
  const unit = fleet.to - fleet.from > LONG_MS ? 100 : 1;
  const since = (at: number | undefined) =>
    at === undefined ? ABSENT : Math.round((at - fleet.from) / unit);
  const runners = fleet.groups.flatMap((group) => group.runners);
  const table: CompactFleet = {
    version: 1,
    title: fleet.title,
    source: fleet.source,
    from: fleet.from,
    to: fleet.to,
    unit,
    texts: texts.all,
    groups: fleet.groups.map(({ id, desired, queued, runners }) => ({
      id,
      desired: flatten(desired, since),
      queued: flatten(queued, since),
      runners: runners.length,
    })),
    runners: {
      id: runners.map(({ id }) => id).join(SEPARATOR),
      launched: [],
      inService: [],
      drain: [],
      end: [],
      jobs: [],
      type: [],
      zone: [],
      purchase: [],
      drainWhy: [],
      endWhy: [],
    },
    restores: { runner: [], at: [], outcome: [], set: [], snapshot: [], seconds: [] },
    jobs: { id: '', started: [], wait: [], length: [], name: [], result: [] },
    incidents: fleet.incidents.map(({ id, severity, summary, openedAt, resolvedAt }) => ({
      id,
      severity,
      summary,
      opened: since(openedAt),
      resolved: since(resolvedAt),
    })),
    snapshots: fleet.snapshots.map(({ at, set, change, snapshot, reason = '' }) => ({
      at: since(at),
      set,
      change,
      snapshot,
      reason,
    })),
    notes: fleet.notes.map(({ at, level, text, runner = '', group = '' }) => ({
      at: since(at),
      level,
      text,
      runner,
      group,
    })),
    figures: fleet.figures,
  };
  let before = 0;
  for (const [index, runner] of runners.entries()) {
    before = addRunner(runner, index, before);
  }
  table.jobs.id = runners.flatMap(({ jobs }) => jobs.map(({ id }) => id)).join(SEPARATOR);
  return table;

  function addRunner(runner: Runner, index: number, previous: number): number {
    const { runners: to, restores } = table;
    const launched = since(runner.launchedAt);
    const base = launched === ABSENT ? previous : launched;
    const difference = (at: number | undefined) => (at === undefined ? ABSENT : since(at) - base);
    to.launched.push(launched === ABSENT ? ABSENT : launched - previous);
    to.inService.push(difference(runner.inServiceAt));
    to.drain.push(difference(runner.drainAt));
    to.end.push(difference(runner.endedAt));
    to.jobs.push(runner.jobs.length);
    to.type.push(texts.index(runner.instanceType));
    to.zone.push(texts.index(runner.zone));
    to.purchase.push(texts.index(runner.purchase));
    to.drainWhy.push(texts.index(runner.drainWhy));
    to.endWhy.push(texts.index(runner.endWhy));
    if (runner.restore) {
      const { at, outcome, set, snapshot, seconds } = runner.restore;
      restores.runner.push(index);
      restores.at.push(difference(at));
      restores.outcome.push(texts.index(outcome));
      restores.set.push(texts.index(set));
      restores.snapshot.push(texts.index(snapshot));
      restores.seconds.push(seconds ?? ABSENT);
    }
    let last = base;
    for (const job of runner.jobs) last = addJob(job, last);
    return base;
  }

  function addJob(job: Job, last: number): number {
    const { jobs } = table;
    // A job whose start is not known shows where it ended.
    const started = since(job.startedAt ?? job.finishedAt ?? job.queuedAt);
    const finished = since(job.finishedAt);
    jobs.started.push(started - last);
    jobs.wait.push(
      job.queuedAt === undefined || job.startedAt === undefined
        ? ABSENT
        : since(job.startedAt) - since(job.queuedAt),
    );
    jobs.length.push(finished === ABSENT ? ABSENT : finished - started);
    jobs.name.push(texts.index(job.name));
    jobs.result.push(texts.index(job.result));
    return finished === ABSENT ? started : finished;
  }
}

/** The fleet in typed arrays, as the page draws it. Times are milliseconds since `from`; NaN is a time that is not known. */
export type PageFleet = {
  title: string;
  source: string;
  from: number;
  /** Milliseconds. */
  span: number;
  figures: Figures;
  groups: PageGroup[];
  runners: PageRunners;
  jobs: PageJobs;
  incidents: CompactFleet['incidents'];
  snapshots: CompactFleet['snapshots'];
  notes: CompactFleet['notes'];
};

export type PageGroup = {
  id: string;
  /** Indexes of its runners: from `first` to before `end`. */
  first: number;
  end: number;
  desired: Steps;
  queued: Steps;
};

/** Values from times on. */
export type Steps = { at: Float64Array; value: Float64Array };

export type PageRunners = {
  count: number;
  id: string[];
  /** When it is first known: its launch, or the beginning of the recording. */
  start: Float64Array;
  launched: Float64Array;
  inService: Float64Array;
  drain: Float64Array;
  end: Float64Array;
  /** Jobs of runner i: from `job[i]` to before `job[i + 1]`. */
  job: Uint32Array;
  text: Record<RunnerText, (string | undefined)[]>;
  restore: Map<number, PageRestore>;
  group: Uint32Array;
};

export type PageRestore = { at: number; outcome: string; set?: string; snapshot?: string; seconds?: number };

export type PageJobs = {
  id: string[];
  name: string[];
  result: (string | undefined)[];
  started: Float64Array;
  /** The end of the recording for a job that runs then. */
  finished: Float64Array;
  isOpen: Uint8Array;
  wait: Float64Array;
};

/** Reads what `compact` has written. */
export function expand(table: CompactFleet): PageFleet {
  const { unit } = table;
  const span = table.to - table.from;
  const time = (value: number | undefined) => known(value) * unit;
  const text = (index: number | undefined) =>
    index === undefined || index < 0 ? undefined : table.texts[index];
  const count = table.runners.launched.length;
  const column = () => new Float64Array(count).fill(Number.NaN);
  const runners: PageRunners = {
    count,
    id: split(table.runners.id, count),
    start: column(),
    launched: column(),
    inService: column(),
    drain: column(),
    end: column(),
    job: new Uint32Array(count + 1),
    group: new Uint32Array(count),
    text: {
      type: table.runners.type.map(text),
      zone: table.runners.zone.map(text),
      purchase: table.runners.purchase.map(text),
      drainWhy: table.runners.drainWhy.map(text),
      endWhy: table.runners.endWhy.map(text),
    },
    restore: new Map(),
  };
  const jobCount = table.jobs.started.length;
  const jobs: PageJobs = {
    id: split(table.jobs.id, jobCount),
    name: table.jobs.name.map((index) => text(index) ?? ''),
    result: table.jobs.result.map(text),
    started: new Float64Array(jobCount),
    finished: new Float64Array(jobCount),
    isOpen: new Uint8Array(jobCount),
    wait: Float64Array.from(table.jobs.wait, time),
  };
  const bases = new Float64Array(count);
  let base = 0;
  let job = 0;
  for (let i = 0; i < count; i += 1) {
    const launched = time(table.runners.launched[i]);
    if (!Number.isNaN(launched)) {
      base += launched;
      runners.launched[i] = base;
    }
    bases[i] = base;
    for (const key of ['inService', 'drain', 'end'] as const)
      runners[key][i] = base + time(table.runners[key][i]);
    runners.job[i] = job;
    let last = base;
    for (const end = job + (table.runners.jobs[i] ?? 0); job < end; job += 1) {
      const started = last + time(table.jobs.started[job]);
      const length = time(table.jobs.length[job]);
      jobs.started[job] = started;
      jobs.isOpen[job] = Number.isNaN(length) ? 1 : 0;
      jobs.finished[job] = Number.isNaN(length) ? span : started + length;
      last = Number.isNaN(length) ? started : started + length;
    }
    // Without its launch a runner was there before the recording began.
    runners.start[i] = Number.isNaN(launched) ? 0 : base;
  }
  runners.job[count] = job;
  for (const [i, runner] of table.restores.runner.entries()) {
    const { at, outcome, set, snapshot, seconds } = table.restores;
    const [setName, id, length] = [text(set[i]), text(snapshot[i]), known(seconds[i])];
    runners.restore.set(runner, {
      at: (bases[runner] ?? 0) + time(at[i]),
      outcome: text(outcome[i]) ?? 'none',
      ...(setName !== undefined && { set: setName }),
      ...(id !== undefined && { snapshot: id }),
      ...(!Number.isNaN(length) && { seconds: length }),
    });
  }
  let first = 0;
  const groups = table.groups.map((group, index) => {
    const end = first + group.runners;
    runners.group.fill(index, first, end);
    const page = {
      id: group.id,
      first,
      end,
      desired: unflatten(group.desired, table.unit),
      queued: unflatten(group.queued, table.unit),
    };
    first = end;
    return page;
  });
  const { title, source, from, figures } = table;
  const snapshots = table.snapshots.map((one) => ({ ...one, at: time(one.at) }));
  const notes = table.notes.map((one) => ({ ...one, at: time(one.at) }));
  const incidents = table.incidents.map((one) => ({
    ...one,
    opened: time(one.opened),
    resolved: time(one.resolved),
  }));
  return { title, source, from, span, figures, groups, runners, jobs, incidents, snapshots, notes };
}

function known(value: number | undefined): number {
  return value === undefined || value === ABSENT ? Number.NaN : value;
}

function split(ids: string, count: number): string[] {
  return count === 0 ? [] : ids.split(SEPARATOR);
}

/** Times as differences, each followed by its value. */
function flatten(steps: readonly Step[], since: (at: number) => number): number[] {
  let last = 0;
  return steps.flatMap(([at, value]) => {
    const difference = since(at) - last;
    last = since(at);
    return [difference, value];
  });
}

function unflatten(flat: readonly number[], unit: number): Steps {
  const length = flat.length / 2;
  const steps = { at: new Float64Array(length), value: new Float64Array(length) };
  let at = 0;
  for (let i = 0; i < length; i += 1) {
    at += (flat[2 * i] ?? 0) * unit;
    steps.at[i] = at;
    steps.value[i] = flat[2 * i + 1] ?? 0;
  }
  return steps;
}

/** Numbers texts in the order of their first use; -1 is none. */
function textTable(): { all: string[]; index(text: string | undefined): number } {
  const all: string[] = [];
  const indexes = new Map<string, number>();
  return {
    all,
    index(text) {
      if (text === undefined) return -1;
      const found = indexes.get(text);
      if (found !== undefined) return found;
      indexes.set(text, all.length);
      return all.push(text) - 1;
    },
  };
}
