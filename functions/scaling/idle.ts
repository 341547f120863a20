import * as v from 'valibot';
import type { QueuedJob } from '../../shared/ci/backlog.ts';
import { recordKey, registrationRecordSchema } from '../../shared/fleet/registration-record.ts';
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

/**
 * The instances of a group that can take no queued job. A read that may lack jobs shows too few that run: a repository with hundreds of
 * runs is read in turns. But an instance that was in service before a job was queued, and has not taken it for three minutes, runs
 * another one, or waits for a registration. An instance that came later shows nothing, so a job that no runner gets cannot make a group
 * grow again and again.
 *
 * @param view.busy those that are known to run a job
 * @param queued jobs that count for the group
 */
export function occupied(
  view: { group: RunnerGroup; running: number; busy: readonly string[]; isFloor: boolean },
  queued: readonly QueuedJob[],
  { memory, clock }: Pick<ScalingDeps, 'memory' | 'clock'>,
): number {
  if (!view.isFloor) return view.running;
  const now = clock.now().getTime();
  const waited = queued.filter(({ since }) => now - since >= UNMATCHED_MS);
  const latest = waited.reduce((time, { since }) => Math.max(time, since), Number.NEGATIVE_INFINITY);
  const passedOver = [...(memory.inServiceSince.get(view.group.id) ?? [])].flatMap(([id, since]) =>
    since <= latest ? [id] : [],
  );
  return Math.max(view.running, new Set([...view.busy, ...passedOver]).size);
}

/**
 * How long a registered instance of the group has been without a job, in milliseconds; 0 if that is not yet long enough to matter. An
 * instance without a registration takes no jobs, so it shows nothing about them.
 */
export async function idleForMs(
  group: RunnerGroup,
  { memory, clock, store }: Pick<ScalingDeps, 'memory' | 'clock' | 'store'>,
): Promise<number> {
  const now = clock.now().getTime();
  const longest = [...(memory.idleSince.get(group.id) ?? [])]
    .map(([instanceId, since]) => ({ instanceId, idleMs: now - since }))
    .filter(({ idleMs }) => idleMs >= UNMATCHED_MS)
    .sort((a, b) => b.idleMs - a.idleMs)
    .slice(0, MAX_RECORDS);
  for (const { instanceId, idleMs } of longest) {
    const stored = await store.read(recordKey(instanceId));
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), registrationRecordSchema), stored?.text);
    // Without a budget the instance waits for its next registration: its record has the one that its last job has used up.
    if (!parsed.success || parsed.output.removed || parsed.output.waiting) continue;
    if (group.settings.provider !== 'gha') return idleMs;
    // Without an id GitHub's answer was lost, or registration fails at present.
    if (parsed.output.id === undefined) continue;
    // The job that was seen used its registration up. The instance has no other one since.
    if (Date.parse(parsed.output.at) <= (memory.busyAt.get(group.id)?.get(instanceId) ?? 0)) continue;
    return idleMs;
  }
  return 0;
}
