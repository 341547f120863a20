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
