import { takeBudget } from '../../shared/ci/budget.ts';
import type { RemovableRegistrations } from '../../shared/ci/provider.ts';
import { parseRegistrationName, type RegistrationRequest } from '../../shared/fleet/registration.ts';
import type { RegistrationRecord } from '../../shared/fleet/registration-record.ts';
import type { UrlAnswer } from '../../shared/runtime/define-url-function.ts';
import { denied, refused, released } from './answers.ts';
import type { Runner } from './caller.ts';
import type { RegistrationDeps } from './ports.ts';
import { withProvider } from './provider-call.ts';
import { readRecord, writeRecord } from './record.ts';

/**
 * How long an agent without labels has to be idle before its registration is removed, in seconds. GitHub gives a job that was
 * assigned 60 s to be picked up, and assigns with some delay.
 */
const WATCH_SECONDS = 70;

type ReleaseRequest = Extract<RegistrationRequest, { action: 'release' }>;

/**
 * Ends the assignment of jobs to an idle agent, and removes its registration once the agent was idle for long enough: the view of the
 * provider on whether an agent is busy is wrong at times, the agent's own is not. A provider that refuses to take the labels away
 * leaves the same steps with a window of about a second.
 *
 * @throws {ProviderError} and the errors of AWS
 */
export async function release(
  { name }: ReleaseRequest,
  { instanceId, group }: Runner,
  signal: AbortSignal,
  deps: RegistrationDeps,
): Promise<UrlAnswer> {
  const parsed = parseRegistrationName(name);
  if (parsed?.instanceId !== instanceId) {
    deps.metrics.add('DeniedRequests', 1, {});
    return denied('foreign-registration', { group: group.id, instanceId });
  }
  return withProvider(group, instanceId, signal, deps, async ({ removable, installation }) => {
    const detail = { group: group.id, instanceId, name };
    if (!removable) return released('unsupported', detail);
    const { record, etag } = await readRecord(instanceId, deps);
    // An earlier registration was removed or used up before the next one was issued, and a later one does not exist.
    if (record?.n !== parsed.n || record.removed) return released('removed', detail);

    const note = (change: Partial<RegistrationRecord>) =>
      writeRecord(deps.store, instanceId, { ...record, ...change }, etag);
    const watched = record.watchedSince === undefined ? undefined : secondsSince(record.watchedSince, deps);
    if (watched !== undefined && watched < WATCH_SECONDS) {
      return released('watch', detail, Math.ceil(WATCH_SECONDS - watched));
    }
    const taken = await takeBudget(installation, 1, 'low', deps);
    if (taken !== 'taken') {
      deps.metrics.add('RegistrationsThrottled', 1, {});
      return refused('budget', taken.waitSeconds);
    }
    const id = record.id ?? (await removable.find(name))?.id;
    const result = id === undefined ? 'removed' : await step(removable, id, watched !== undefined);
    if (result === 'removed') {
      await note({ removed: true });
      return released(result, detail);
    }
    // After `busy` too: an instance that asks again and again costs a call per 70 s.
    await note({ watchedSince: deps.clock.now().toISOString() });
    return released(result, detail, result === 'watch' ? WATCH_SECONDS : undefined);
  });
}

/** @param watched whether the labels were removed before and the agent stayed idle */
async function step(
  removable: RemovableRegistrations,
  id: number,
  watched: boolean,
): Promise<'removed' | 'busy' | 'watch'> {
  if (watched) return removable.remove(id);
  return (await removable.stopAssignment(id)) === 'gone' ? 'removed' : 'watch';
}

function secondsSince(instant: string, { clock }: RegistrationDeps): number {
  return (clock.now().getTime() - Date.parse(instant)) / 1000;
}
