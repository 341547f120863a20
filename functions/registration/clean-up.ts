import { takeBudget } from '../../shared/ci/budget.ts';
import type { KnownRegistration, RemovableRegistrations } from '../../shared/ci/provider.ts';
import { parseRegistrationName } from '../../shared/fleet/registration.ts';
import { recordKey } from '../../shared/fleet/registration-record.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { addLogFields } from '../../shared/runtime/logger.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import type { RegistrationDeps } from './ports.ts';
import { withProvider } from './provider-call.ts';
import { readRecord, registrationName } from './record.ts';

/** When a registration is tried again that the provider calls busy, in seconds: GitHub gives a lost job up after about 10 minutes. */
const BUSY_SECONDS = 300;

/**
 * Removes what a terminated instance has left at its provider, and then its record. The latest registration is in the record; a list
 * of the provider has earlier ones, if any. The record goes last: the sweep finds by it what is still left.
 */
export async function cleanUpInstance(
  instanceId: string,
  autoScalingGroup: string,
  signal: AbortSignal,
  deps: RegistrationDeps,
): Promise<Outcome> {
  if (!autoScalingGroup.startsWith(`${deps.prefix}-`)) return skipped('foreign-group');
  const groups = await deps.groups.all();
  const group = groups.find(({ settings }) => settings.autoScalingGroup === autoScalingGroup);
  if (!group) return skipped('foreign-group');
  addLogFields({ terminated: instanceId });
  deps.states.delete(instanceId);
  const { record, etag } = await readRecord(instanceId, deps);
  if (!record || etag === undefined) return skipped('no-registration');
  const removed = await withProvider(group, instanceId, signal, deps, async (client) => {
    const { removable, installation } = client;
    if (!removable) return [];
    const latest = registrationName(instanceId, record.n);
    const left = new Map<string, number>();
    if (!record.removed) {
      const id = record.id ?? (await removable.find(latest))?.id;
      if (id !== undefined) left.set(latest, id);
    }
    for (const { name, id } of await registrationsOf(instanceId, removable, deps)) left.set(name, id);
    for (const [name, id] of left) await removeOne(name, id, removable, installation, deps);
    return [...left.keys()];
  });
  await deps.store.remove(recordKey(instanceId), etag);
  return done({ instanceId, removed });
}

/** @throws {RetryableError} if the provider keeps it, or if the budget is spent */
async function removeOne(
  name: string,
  id: number,
  removable: RemovableRegistrations,
  installation: string | undefined,
  deps: RegistrationDeps,
): Promise<void> {
  const taken = await takeBudget(installation, 1, 'low', deps);
  if (taken !== 'taken') {
    throw new RetryableError('budget', `the budget of the installation is spent`, {
      afterSeconds: taken.waitSeconds,
    });
  }
  if ((await removable.remove(id)) === 'removed') return;
  throw new RetryableError('registration-busy', `${name} is busy at the provider`, {
    afterSeconds: BUSY_SECONDS,
  });
}

/**
 * Life of a list of registrations, and least life per registration in it, in milliseconds: a fleet that is replaced sends an event per
 * instance. A page has 100 registrations, so lists cost at most eight calls per minute in each of the two execution environments, whatever
 * their length. GitHub allows 5,000 calls per hour (REST API, "Rate limits"), and polls and removals need most of them.
 */
const LIST_MS = 30_000;
const LIST_MS_PER_REGISTRATION = 75;

/**
 * What the list of the provider has of one instance. The list may be older than the last registration of an instance that ended
 * suddenly; that one is in the record. An earlier one that was left behind after the list was read stays for a day, after which GitHub removes
 * it.
 */
async function registrationsOf(
  instanceId: string,
  removable: RemovableRegistrations,
  { lists, clock }: RegistrationDeps,
): Promise<KnownRegistration[]> {
  const now = clock.now().getTime();
  let list = lists.get(removable.scope);
  if (!list || now >= list.until) {
    const found = collect(removable);
    const fresh = { until: now + LIST_MS, ofInstances: found.then(byInstance) };
    list = fresh;
    lists.set(removable.scope, list);
    found.then(
      ({ length }) => {
        fresh.until = now + Math.max(LIST_MS, length * LIST_MS_PER_REGISTRATION);
      },
      () => lists.delete(removable.scope),
    );
  }
  return (await list.ofInstances).get(instanceId) ?? [];
}

function byInstance(registrations: readonly KnownRegistration[]): Map<string, KnownRegistration[]> {
  return Map.groupBy(registrations, ({ name }) => parseRegistrationName(name)?.instanceId ?? '');
}

/** Every registration of a provider's list. */
export async function collect(removable: RemovableRegistrations): Promise<KnownRegistration[]> {
  const found: KnownRegistration[] = [];
  for await (const registration of removable.list()) {
    if (parseRegistrationName(registration.name)) found.push(registration);
  }
  return found;
}
