import { takeBudget } from '../../shared/ci/budget.ts';
import {
  ProviderError,
  type RegistrationClient,
  type RemovableRegistrations,
} from '../../shared/ci/provider.ts';
import { parseRegistrationName, type RegistrationRequest } from '../../shared/fleet/registration.ts';
import type { RegistrationRecord } from '../../shared/fleet/registration-record.ts';
import type { UrlAnswer } from '../../shared/runtime/define-url-function.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { refused, registered } from './answers.ts';
import type { Runner } from './caller.ts';
import { lifecycleRefusal } from './lifecycle-state.ts';
import type { RegistrationDeps } from './ports.ts';
import { withProvider } from './provider-call.ts';
import { readRecord, registrationName, type StoredRecord, writeRecord } from './record.ts';

/** Least time between two answers to one instance, in milliseconds. */
const LEAST_GAP_MS = 10_000;

/** When an instance comes back whose previous registration is busy at the provider, in seconds. */
const BUSY_SECONDS = 10;

/**
 * Longest time for which a provider may call a registration busy whose agent has ended, in milliseconds. GitHub fails a job that is
 * no longer renewed after about 10 minutes. Past it the instance gets its next registration, and the sweep removes the old one.
 */
const BUSY_LIMIT_MS = 15 * 60_000;

/** Most names that are tried in one request. A name is in use only if a record was lost. */
const NAMES = 3;

type RegisterRequest = Extract<RegistrationRequest, { action: 'register' }>;

/**
 * Issues the next registration of an instance. The record is written before the provider is called, so that whatever is lost
 * afterwards (the answer of the provider, this invocation, the answer to the instance) is found and removed by the next request.
 *
 * @throws {ProviderError} and the errors of AWS
 */
export async function register(
  request: RegisterRequest,
  runner: Runner,
  signal: AbortSignal,
  deps: RegistrationDeps,
): Promise<UrlAnswer> {
  const { instanceId, group } = runner;
  const notNow = await lifecycleRefusal(runner, deps);
  if (notNow) return notNow;

  const stored = await readRecord(instanceId, deps);
  const now = deps.clock.now();
  const sinceLast = stored.record ? now.getTime() - Date.parse(stored.record.at) : LEAST_GAP_MS;
  if (sinceLast < LEAST_GAP_MS) return tooSoon(LEAST_GAP_MS - sinceLast);

  return withProvider(group, instanceId, signal, deps, async (client) => {
    const leftBehind = hasLeftBehind(stored.record, request, client);
    const taken = await takeBudget(client.installation, leftBehind ? 2 : 1, 'issue', deps);
    if (taken !== 'taken') {
      deps.metrics.add('RegistrationsThrottled', 1, {});
      // The sweep finds by the time of the record that this instance asks, and `scaling` that it waits.
      const { record = { version: 1, n: 0, removed: true }, etag } = stored;
      await noteRecord(instanceId, { ...record, at: now.toISOString(), waiting: true }, etag, deps);
      return refused('budget', taken.waitSeconds);
    }
    const next = { instanceId, request, client, deps };
    if (!leftBehind) return issueNext(next, stored, runner);

    // Claims the turn before anything changes at the provider: of two requests at once, one is refused here.
    const { watchedSince: _, waiting: __, ...previous } = leftBehind.record;
    const claimed = { ...previous, at: now.toISOString() };
    const etag = await writeRecord(deps.store, instanceId, claimed, stored.etag);
    if (etag === undefined) return tooSoon(LEAST_GAP_MS);
    const busy = await removePrevious(leftBehind.removable, claimed, instanceId);
    if (busy) {
      const busySince = claimed.busySince ?? now.toISOString();
      if (now.getTime() - Date.parse(busySince) < BUSY_LIMIT_MS) {
        await writeRecord(deps.store, instanceId, { ...claimed, busySince }, etag);
        return refused('previous-busy', BUSY_SECONDS, { previous: registrationName(instanceId, claimed.n) });
      }
      deps.metrics.add('ExcessRegistrations', 1, { Group: group.id });
      deps.logger.warn('previous registration stays busy', {
        group: group.id,
        instanceId,
        n: claimed.n,
        busySince,
      });
    }
    return issueNext(next, { record: claimed, etag }, runner);
  });
}

/**
 * The previous registration, if it may still exist at the provider. After a finished job the provider has removed it, so nothing is
 * called, unless an answer was lost: the provider's, so that the record has no id, or the function's, so that the record is ahead of
 * what the instance has received.
 */
function hasLeftBehind(
  record: RegistrationRecord | undefined,
  { previous, last }: RegisterRequest,
  { removable }: RegistrationClient,
): { record: RegistrationRecord; removable: RemovableRegistrations } | undefined {
  if (!record || record.removed || !removable) return undefined;
  const received = last === undefined ? record.n : parseRegistrationName(last)?.n;
  const isFinished = previous === 'job' && record.id !== undefined && received === record.n;
  return isFinished ? undefined : { record, removable };
}

/** @returns whether the provider keeps it */
async function removePrevious(
  removable: RemovableRegistrations,
  record: RegistrationRecord,
  instanceId: string,
): Promise<boolean> {
  const id = record.id ?? (await removable.find(registrationName(instanceId, record.n)))?.id;
  return id !== undefined && (await removable.remove(id)) === 'busy';
}

type Next = {
  instanceId: string;
  request: RegisterRequest;
  client: RegistrationClient;
  deps: RegistrationDeps;
};

async function issueNext(
  { instanceId, request, client, deps }: Next,
  stored: StoredRecord,
  { group }: Runner,
): Promise<UrlAnswer> {
  let { etag } = stored;
  for (let n = (stored.record?.n ?? 0) + 1; ; n += 1) {
    const record: RegistrationRecord = { version: 1, n, at: deps.clock.now().toISOString() };
    etag = await writeRecord(deps.store, instanceId, record, etag);
    if (etag === undefined) return tooSoon(LEAST_GAP_MS);
    const name = registrationName(instanceId, n);
    const result = await issueOrNote({ name, request, client, deps, record, etag, instanceId });
    if (result === 'name-taken') {
      if (n - (stored.record?.n ?? 0) < NAMES) continue;
      throw new ProviderError('unavailable', `the names up to ${name} are in use at the provider`);
    }
    if (result.id !== undefined) await noteRecord(instanceId, { ...record, id: result.id }, etag, deps);
    if (request.previous === 'other') deps.metrics.add('RegistrationsWithoutJob', 1, { Group: group.id });
    return registered(result.registration, { group: group.id, instanceId, id: result.id });
  }
}

type Issue = Next & { name: string; record: RegistrationRecord; etag: string };

/** Issues; notes a refusal, after which there is nothing to look up or to remove. No answer can mean that it exists. */
async function issueOrNote({ name, request, client, deps, record, etag, instanceId }: Issue) {
  try {
    return await client.issue({ name, ...(request.agent && { agent: request.agent }) });
  } catch (error) {
    const isRefusal = !(error instanceof ProviderError) || error.kind !== 'unavailable';
    if (isRefusal && client.removable) {
      await noteRecord(instanceId, { ...record, removed: true }, etag, deps);
    }
    throw error;
  }
}

/** A note that fails costs one lookup by name at the next request. The registration at hand must not be lost for it. */
async function noteRecord(
  instanceId: string,
  record: RegistrationRecord,
  etag: string | undefined,
  { store, logger }: RegistrationDeps,
): Promise<void> {
  try {
    await writeRecord(store, instanceId, record, etag);
  } catch (error) {
    logger.warn('record not completed', { instanceId, n: record.n, error: errorText(error) });
  }
}

function tooSoon(ms: number): UrlAnswer {
  return refused('too-soon', ms / 1000);
}
