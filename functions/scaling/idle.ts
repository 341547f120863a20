import * as v from 'valibot';
import type { QueuedJob } from '../../shared/ci/backlog.ts';
import {
  parseSweep,
  recordKey,
  registrationRecordSchema,
  SWEEP_KEY,
} from '../../shared/fleet/registration-record.ts';
import type { RunnerGroup, ScalingDeps } from './ports.ts';
import { UNMATCHED_MS } from './unmatched.ts';

/** Most records of registrations that are read per group and poll. */
const MAX_RECORDS = 3;

/**
 * Remembers since when instances are without a job. One that had a job in any read starts anew: between two jobs every instance is
 * without one for some seconds.
 *
 * @param view.idle instances in service that run no job; none after a read that may lack jobs
 * @param view.busy instances in service that run one
 */
export function noteIdle(
  group: string,
  { idle, busy }: { idle: readonly string[]; busy: readonly string[] },
  { memory, clock }: ScalingDeps,
): void {
  const now = clock.now().getTime();
  const idleBefore = memory.idleSince.get(group);
  memory.idleSince.set(group, new Map(idle.map((id) => [id, idleBefore?.get(id) ?? now])));
  const busyBefore = memory.busyAt.get(group);
  // An instance that is in neither list is forgotten: it has left, or the read may lack its job.
  const kept = idle.flatMap((id): [string, number][] => {
    const at = busyBefore?.get(id);
    return at === undefined ? [] : [[id, at]];
  });
  memory.busyAt.set(group, new Map([...kept, ...busy.map((id): [string, number] => [id, now])]));
}

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

/**
 * How long registered runners of a group have been without a job, one after the other. A runner ends after its idle timeout, and with a short
 * one no runner is there for three minutes: without the time of those that have ended, each would be followed by another one, for as long as
 * the job is queued. A runner without a registration takes no jobs, so it shows nothing about them.
 *
 * @param view.inService instances of the group in service
 * @param queued jobs that count for the group
 * @returns the time since a moment, in milliseconds; 0 while no job has waited for long enough to matter
 */
export async function idleBeside(
  { group, inService }: { group: RunnerGroup; inService: readonly string[] },
  queued: readonly QueuedJob[],
  deps: Pick<ScalingDeps, 'memory' | 'clock' | 'store'>,
): Promise<(since: number) => number> {
  const { memory, clock } = deps;
  const now = clock.now().getTime();
  const oldest = queued.reduce((time, { since }) => Math.min(time, since), Number.POSITIVE_INFINITY);
  if (now - oldest < UNMATCHED_MS) {
    memory.idled.delete(group.id);
    return () => 0;
  }
  const { present: before, ended: endedBefore = [] } = memory.idled.get(group.id) ?? {};
  const hasEnded = before !== undefined && !inService.includes(before.instanceId);
  const ended = [...endedBefore, ...(hasEnded ? [{ from: before.from, until: now }] : [])].filter(
    ({ until }) => until > oldest,
  );
  const longest = await longestIdle(group, deps);
  // Times of two runners that were idle at once count once.
  const from = Math.max(longest?.since ?? now, ended.at(-1)?.until ?? 0);
  memory.idled.set(group.id, { present: longest && { instanceId: longest.instanceId, from }, ended });
  const spans = [...ended, { from, until: now }];
  return (since) =>
    spans.reduce((sum, span) => sum + Math.max(0, span.until - Math.max(span.from, since)), 0);
}

/** The registered instance of the group that has been without a job for the longest time, of those whose records are read. */
async function longestIdle(
  group: RunnerGroup,
  { memory, store }: Pick<ScalingDeps, 'memory' | 'store'>,
): Promise<{ instanceId: string; since: number } | undefined> {
  const longest = [...(memory.idleSince.get(group.id) ?? [])]
    .map(([instanceId, since]) => ({ instanceId, since }))
    .sort((a, b) => a.since - b.since)
    .slice(0, MAX_RECORDS);
  for (const { instanceId, since } of longest) {
    const stored = await store.read(recordKey(instanceId));
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), registrationRecordSchema), stored?.text);
    // Without a budget the instance waits for its next registration: its record has the one that its last job has used up.
    if (!parsed.success || parsed.output.removed || parsed.output.waiting) continue;
    if (group.settings.provider !== 'gha') return { instanceId, since };
    // Without an id GitHub's answer was lost, or registration fails at present.
    if (parsed.output.id === undefined) continue;
    // The job that was seen used its registration up. The instance has no other one since.
    if (Date.parse(parsed.output.at) <= (memory.busyAt.get(group.id)?.get(instanceId) ?? 0)) continue;
    return { instanceId, since };
  }
  return undefined;
}
