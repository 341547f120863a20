import type { PageFleet, Steps } from '../compact.ts';

/** The phases of a runner, in the order in which the charts stack them from below. */
export const PHASES = ['busy', 'idle', 'booting', 'draining'] as const;
export type Phase = (typeof PHASES)[number];

/** When each of many intervals begins and ends, each sorted: the number that hold at a time is a difference of two searches. */
type Intervals = { starts: Float64Array; ends: Float64Array };

/** How many runners of a group, or of all, are in each phase over time. */
export type PhaseSeries = Record<'booting' | 'service' | 'busy' | 'draining', Intervals>;

/** The phases of one runner. A phase that it did not reach is undefined. Times are milliseconds since the beginning. */
export function spansOf(
  { runners, span }: PageFleet,
  i: number,
): { booting?: Span; service?: Span; draining?: Span; end: number } {
  const value = (column: Float64Array) => column[i] ?? Number.NaN;
  const or = (...times: number[]) => times.find((time) => !Number.isNaN(time)) ?? span;
  const [launched, ready, drain, ended] = [
    value(runners.launched),
    value(runners.inService),
    value(runners.drain),
    value(runners.end),
  ];
  const end = or(ended);
  const isDrained = !Number.isNaN(drain) && drain < end;
  const upTo = isDrained ? drain : end;
  // A runner that was in service before the recording began has no launch.
  const served = Number.isNaN(ready) && Number.isNaN(launched) ? 0 : ready;
  return {
    ...(!Number.isNaN(launched) && { booting: [launched, Math.min(or(ready, upTo), upTo)] }),
    ...(!Number.isNaN(served) && served <= upTo && { service: [served, upTo] }),
    ...(isDrained && { draining: [drain, end] }),
    end,
  };
}

export type Span = [from: number, to: number];

/** Counts the runners from `first` to before `end`. */
export function phaseSeries(fleet: PageFleet, first: number, end: number): PhaseSeries {
  const lists = { booting: pair(), service: pair(), busy: pair(), draining: pair() };
  for (let i = first; i < end; i += 1) {
    const spans = spansOf(fleet, i);
    for (const phase of ['booting', 'service', 'draining'] as const) {
      const span = spans[phase];
      if (span) add(lists[phase], span[0], span[1]);
    }
    const { service } = spans;
    if (!service) continue;
    const { runners, jobs } = fleet;
    for (let j = runners.job[i] ?? 0; j < (runners.job[i + 1] ?? 0); j += 1) {
      // The job of a draining runner is part of its drain.
      add(
        lists.busy,
        Math.max(service[0], jobs.started[j] ?? 0),
        Math.min(service[1], jobs.finished[j] ?? 0),
      );
    }
  }
  const sorted = ({ starts, ends }: Pair): Intervals => ({
    starts: Float64Array.from(starts).sort(),
    ends: Float64Array.from(ends).sort(),
  });
  return {
    booting: sorted(lists.booting),
    service: sorted(lists.service),
    busy: sorted(lists.busy),
    draining: sorted(lists.draining),
  };
}

type Pair = { starts: number[]; ends: number[] };

const pair = (): Pair => ({ starts: [], ends: [] });

function add(list: Pair, from: number, to: number): void {
  if (!(from < to)) return;
  list.starts.push(from);
  list.ends.push(to);
}

/** The runners in each phase at a time. */
export function countsAt(series: PhaseSeries, t: number): Record<Phase, number> {
  const of = ({ starts, ends }: Intervals) => upTo(starts, t) - upTo(ends, t);
  const busy = of(series.busy);
  return {
    busy,
    idle: Math.max(0, of(series.service) - busy),
    booting: of(series.booting),
    draining: of(series.draining),
  };
}

/** The value at a time; 0 before the first one. */
export function valueAt({ at, value }: Steps, t: number): number {
  return value[upTo(at, t) - 1] ?? 0;
}

/** How many of the sorted times are not after `t`. */
function upTo(times: Float64Array, t: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The sum of several step functions. */
export function sumOf(all: readonly Steps[]): Steps {
  const length = all.reduce((sum, { at }) => sum + at.length, 0);
  const times = new Float64Array(length);
  const changes = new Float64Array(length);
  let n = 0;
  for (const { at, value } of all) {
    for (let i = 0; i < at.length; i += 1) {
      times[n] = at[i] ?? 0;
      changes[n] = (value[i] ?? 0) - (value[i - 1] ?? 0);
      n += 1;
    }
  }
  const order = new Uint32Array(length).map((_, i) => i).sort((a, b) => (times[a] ?? 0) - (times[b] ?? 0));
  const sum = { at: new Float64Array(length), value: new Float64Array(length) };
  let total = 0;
  for (const [i, change] of order.entries()) {
    total += changes[change] ?? 0;
    sum.at[i] = times[change] ?? 0;
    sum.value[i] = total;
  }
  return sum;
}
