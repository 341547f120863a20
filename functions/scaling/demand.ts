import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { parseSweep, SWEEP_KEY } from '../../shared/fleet/registration-record.ts';
import type { RunnerGroup, ScalingDeps } from './ports.ts';
import { UNMATCHED_MS } from './unmatched.ts';

/** Age up to which a sweep of `registration` shows who is busy, in milliseconds. There is one each five minutes. */
const SWEEP_MS = 12 * 60_000;

/** Runners that a provider lists as busy. */
export type BusyList = { instances: ReadonlySet<string>; at: number };

/**
 * The instances whose runners the provider listed as busy in the last sweep of `registration`. Some have ended their jobs since, and a
 * provider is wrong at times: each makes a group grow by one runner too many at most.
 *
 * @returns undefined without a recent sweep
 */
export async function busyInSweep({
  store,
  clock,
}: Pick<ScalingDeps, 'store' | 'clock'>): Promise<BusyList | undefined> {
  const sweep = parseSweep((await store.read(SWEEP_KEY))?.text);
  if (!sweep) return undefined;
  const at = Date.parse(sweep.at);
  return clock.now().getTime() - at < SWEEP_MS ? { instances: new Set(sweep.busy), at } : undefined;
}

/** Remembers since when instances are known to be in service. */
export function noteInService(
  group: string,
  inService: readonly string[],
  { memory, clock }: Pick<ScalingDeps, 'memory' | 'clock'>,
): void {
  const now = clock.now().getTime();
  const before = memory.inServiceSince.get(group);
  memory.inServiceSince.set(group, new Map(inService.map((id) => [id, before?.get(id) ?? now])));
}

/** What a read shows of a group, as far as its occupied instances are concerned. */
type Occupancy = {
  group: RunnerGroup;
  running: number;
  busy: readonly string[];
  inService: readonly string[];
  isFloor: boolean;
};

/**
 * The jobs of a group, as pairs of those that run and those that wait: each pair is certain, and the larger one counts. A read that may lack
 * jobs shows too few that run: a repository with hundreds of runs is read in turns.
 *
 * - An instance that was in service before a job was queued, and has not taken it for three minutes, runs another one, or waits for a
 *   registration. An instance that came later shows nothing by itself, so a job that no runner gets cannot make a group grow again and
 *   again.
 * - An instance whose runner the provider lists as busy runs a job. It can be one that an earlier turn of the read saw waiting, so beside this
 *   list only jobs count that were seen to wait after it.
 *
 * @param queued jobs that count for the group
 * @param list called only for a read that may lack jobs
 */
export async function demandOf(
  view: Occupancy,
  queued: readonly QueuedJob[],
  list: () => Promise<BusyList | undefined>,
  deps: Pick<ScalingDeps, 'memory' | 'clock'>,
): Promise<{ running: number; queued: number }[]> {
  if (!view.isFloor) return [{ running: view.running, queued: queued.length }];
  const occupied = new Set([...view.busy, ...passedOver(view.group.id, queued, deps)]);
  const demand = [{ running: Math.max(view.running, occupied.size), queued: queued.length }];
  const busyList = await list();
  if (!busyList) return demand;
  const { instances, at } = busyList;
  const listed = view.inService.filter((id) => instances.has(id));
  const waiting = queued.filter(({ seenAt }) => seenAt === undefined || seenAt >= at);
  return [...demand, { running: new Set([...occupied, ...listed]).size, queued: waiting.length }];
}

/** Instances that were in service before one of these jobs was queued, which has waited for three minutes since. */
function passedOver(
  group: string,
  queued: readonly QueuedJob[],
  { memory, clock }: Pick<ScalingDeps, 'memory' | 'clock'>,
): string[] {
  const now = clock.now().getTime();
  const waited = queued.filter(({ since }) => now - since >= UNMATCHED_MS);
  const latest = waited.reduce((time, { since }) => Math.max(time, since), Number.NEGATIVE_INFINITY);
  return [...(memory.inServiceSince.get(group) ?? [])].flatMap(([id, since]) =>
    since <= latest ? [id] : [],
  );
}
