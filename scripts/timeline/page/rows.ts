import type { PageFleet } from '../compact.ts';

/**
 * The list below the charts: a header per group, then its runners. Only what is on the screen is drawn, so the list is arrays of
 * numbers and not elements.
 */
export type Rows = {
  /** Upper edge of each row in pixels, and the height of the list at the end. */
  top: Float64Array;
  /** A runner's index, or `-1 - g` for the header of group g. */
  item: Int32Array;
  runners: number;
};

export type RowsOptions = {
  rowHeight: number;
  headerHeight: number;
  collapsed: ReadonlySet<number>;
  /** Which runners are shown; all if undefined. */
  shown: Uint8Array | undefined;
  /** The only group that is shown; all if undefined. */
  group: number | undefined;
};

export function layOut(fleet: PageFleet, options: RowsOptions): Rows {
  const item: number[] = [];
  const top: number[] = [];
  let y = 0;
  let runners = 0;
  const add = (one: number, height: number) => {
    item.push(one);
    top.push(y);
    y += height;
  };
  for (const [g, { first, end }] of fleet.groups.entries()) {
    if (options.group !== undefined && options.group !== g) continue;
    const own: number[] = [];
    for (let i = first; i < end; i += 1) if (options.shown?.[i] !== 0) own.push(i);
    // A search shows no group without a result.
    if (own.length === 0 && options.shown) continue;
    runners += own.length;
    add(-1 - g, options.headerHeight);
    if (!options.collapsed.has(g)) for (const i of own) add(i, options.rowHeight);
  }
  top.push(y);
  return { top: Float64Array.from(top), item: Int32Array.from(item), runners };
}

/** The row at `y`, or -1 above the first and below the last one. */
export function rowAt({ top, item }: Rows, y: number): number {
  if (y < 0 || y >= (top[item.length] ?? 0)) return -1;
  let [low, high] = [0, item.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((top[middle] ?? 0) <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** What a search finds. */
export type Found = {
  /** 1 for each runner that is shown. */
  runners: Uint8Array;
  /** 1 for each job whose name or id has the text; undefined if the text is in no job. */
  jobs: Uint8Array | undefined;
  runnerCount: number;
  jobCount: number;
};

/** Runners whose id, group or instance type has the text, and those with a job whose name or id has it. Case does not matter. */
export function search(fleet: PageFleet, query: string): Found | undefined {
  const wanted = query.trim().toLowerCase();
  if (wanted === '') return undefined;
  const memory = new Map<string, boolean>();
  const has = (text: string | undefined) => {
    if (text === undefined) return false;
    let result = memory.get(text);
    if (result === undefined) {
      result = text.toLowerCase().includes(wanted);
      memory.set(text, result);
    }
    return result;
  };
  const { runners, jobs, groups } = fleet;
  const found: Found = {
    runners: new Uint8Array(runners.count),
    jobs: new Uint8Array(jobs.id.length),
    runnerCount: 0,
    jobCount: 0,
  };
  for (let i = 0; i < runners.count; i += 1) {
    const group = groups[runners.group[i] ?? 0]?.id;
    let isShown = runners.id[i]?.toLowerCase().includes(wanted) || has(group) || has(runners.text.type[i]);
    for (let j = runners.job[i] ?? 0; j < (runners.job[i + 1] ?? 0); j += 1) {
      if (!has(jobs.name[j]) && !jobs.id[j]?.toLowerCase().includes(wanted)) continue;
      if (found.jobs) found.jobs[j] = 1;
      found.jobCount += 1;
      isShown = true;
    }
    if (!isShown) continue;
    found.runners[i] = 1;
    found.runnerCount += 1;
  }
  return found.jobCount > 0 ? found : { ...found, jobs: undefined };
}
