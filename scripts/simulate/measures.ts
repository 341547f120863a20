import type { Job } from './cloud/ci.ts';
import { HOUR, SECOND } from './kernel.ts';

/** Prices of an hour of m7a.xlarge in us-east-1, on demand and a usual one on Spot, in dollars. */
const PRICES = { 'on-demand': 0.23184, spot: 0.094 };

/** What an instance is in at each moment of its life. */
export const INSTANCE_STATES = {
  booting: 'from the request of an instance until its first agent accepts jobs',
  busy: 'a job runs',
  turnover: 'no agent accepts jobs: the place of the next job is made, or a registration is waited for',
  idle: 'an agent waits, and gets a job',
  unused: 'an agent waits, and gets no job any more: the idle timeout',
  draining: 'after the begin of the drain, without a job',
  warming: 'a snapshot is made',
} as const;
export type InstanceState = keyof typeof INSTANCE_STATES;

/** The times of one instance by state, in milliseconds. */
export class InstanceTimes {
  readonly spent: Record<InstanceState, number> = {
    ...{ booting: 0, busy: 0, turnover: 0, idle: 0, unused: 0, draining: 0, warming: 0 },
  };
  private state: InstanceState;
  private since: number;

  constructor(state: InstanceState, now: number) {
    this.state = state;
    this.since = now;
  }

  /** Idle time counts as unused until a job ends it. */
  enter(state: Exclude<InstanceState, 'unused'>, now: number): void {
    this.spent[this.state === 'idle' ? 'unused' : this.state] += now - this.since;
    this.since = now;
    this.state = state;
    if (state !== 'busy') return;
    this.spent.idle += this.spent.unused;
    this.spent.unused = 0;
  }
}

/** What a simulation counts. Times are milliseconds. */
export class Measures {
  queued = 0;
  done = 0;
  killed = 0;
  reclaimed = 0;
  crashed = 0;
  expired = 0;
  /** Jobs that no group takes. They are counted apart. */
  unmatched = 0;
  ended = 0;
  launched = 0;
  /** From the request of an instance until its agent accepts jobs. */
  readonly bootSeconds: number[] = [];
  boots = { restored: 0, previous: 0, cold: 0, none: 0 };
  hooksTimedOut = 0;
  launchesAbandoned = 0;
  turnovers = 0;
  turnoverMs = 0;
  peakInstances = 0;
  peakDesired = 0;
  peakRunning = 0;
  instanceMs = { 'on-demand': 0, spot: 0 };
  readonly stateMs: Record<InstanceState, number> = {
    ...{ booting: 0, busy: 0, turnover: 0, idle: 0, unused: 0, draining: 0, warming: 0 },
  };
  /** Instances that ended without a job. */
  withoutJob = { count: 0, milliseconds: 0 };
  /** Of the jobs that began, in seconds. */
  readonly waits: number[] = [];
  /** Per group: when each job was queued, and its length in seconds. */
  readonly work = new Map<string, { at: number; seconds: number }[]>();
  readonly perHour: { queued: number; running: number; instances: number; desired: number }[] = [];

  started(job: Job, now: number): void {
    this.waits.push((now - job.queuedAt) / SECOND);
  }

  end(job: Job): void {
    if (job.kind !== 'normal') return;
    this.ended += 1;
    if (job.end === 'done') this.done += 1;
    else if (job.end === 'killed') this.killed += 1;
    else if (job.end === 'reclaimed') this.reclaimed += 1;
    else if (job.end === 'crashed') this.crashed += 1;
    else this.expired += 1;
    if (job.startedAt === undefined || job.group === undefined) return;
    const own = this.work.get(job.group);
    const entry = { at: job.queuedAt, seconds: ((job.endedAt ?? job.startedAt) - job.startedAt) / SECOND };
    if (own) own.push(entry);
    else this.work.set(job.group, [entry]);
  }

  instanceEnded(
    instance: { purchase: 'spot' | 'on-demand'; launchedAt: number; jobs: number; times: InstanceTimes },
    now: number,
  ): void {
    const { spent } = instance.times;
    const all = now - instance.launchedAt;
    this.instanceMs[instance.purchase] += all;
    for (const state of Object.keys(spent) as InstanceState[]) this.stateMs[state] += spent[state];
    if (instance.jobs > 0 || spent.warming > 0) return;
    this.withoutJob.count += 1;
    this.withoutJob.milliseconds += all;
  }

  dollars(): number {
    return (
      (this.instanceMs['on-demand'] / HOUR) * PRICES['on-demand'] +
      (this.instanceMs.spot / HOUR) * PRICES.spot
    );
  }

  instanceHours(): number {
    return (this.instanceMs['on-demand'] + this.instanceMs.spot) / HOUR;
  }

  wait(): { p50: number; p90: number; p99: number; longest: number; mean: number } {
    const sorted = Float64Array.from(this.waits).sort();
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    const sum = sorted.reduce((total, wait) => total + wait, 0);
    return {
      p50: at(0.5),
      p90: at(0.9),
      p99: at(0.99),
      longest: sorted.at(-1) ?? 0,
      mean: sum / (sorted.length || 1),
    };
  }
}

/**
 * Instance hours of an optimum that knows every job beforehand and pays the same time for each boot, the same time between two jobs, and
 * keeps to the maxima: an instance is there exactly when a job is queued, and between two jobs it stays only if that is cheaper than
 * another boot.
 *
 * @param bootSeconds from the request of an instance until its agent accepts jobs
 * @param turnoverSeconds from the end of a job until the next agent accepts jobs
 */
export function clairvoyantHours(
  work: ReadonlyMap<string, readonly { at: number; seconds: number }[]>,
  maxima: ReadonlyMap<string, number>,
  bootSeconds: number,
  turnoverSeconds: number,
): number {
  let total = 0;
  for (const [group, jobs] of work) {
    const max = maxima.get(group) ?? Number.POSITIVE_INFINITY;
    /** Times at which instances become free, in seconds, ascending. */
    const free: number[] = [];
    for (const { at, seconds } of [...jobs].sort((a, b) => a.at - b.at)) {
      const start = at / SECOND;
      // The one that became free last: the others may have gone.
      let index = lastAtOrBefore(free, start);
      let begins = start;
      if (index < 0 && free.length >= max) {
        // All are busy: the job waits for the first.
        index = 0;
        begins = free[0] ?? start;
      }
      if (index >= 0) {
        const gap = begins - (free[index] ?? begins);
        total += Math.min(gap, bootSeconds);
        free.splice(index, 1);
      } else {
        total += bootSeconds;
      }
      total += seconds + turnoverSeconds;
      insert(free, begins + seconds + turnoverSeconds);
    }
  }
  return total / 3_600;
}

function lastAtOrBefore(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function insert(sorted: number[], value: number): void {
  sorted.splice(lastAtOrBefore(sorted, value) + 1, 0, value);
}
