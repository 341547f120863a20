import { errorText, PermanentError, RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, retryLater } from '../../shared/runtime/outcome.ts';
import { abortable } from './abortable.ts';
import { type Applied, applyPlan } from './apply.ts';
import { type Desired, readDesired } from './desired.ts';
import { type Plan, planTree } from './plan.ts';
import type { ReconcileDeps, Region } from './ports.ts';

/**
 * Time limit of a pass over the tree, in milliseconds. A message waits for at most one running pass and one more; both fit into
 * the function's timeout of 120 s.
 */
const PASS_MS = 55_000;

/** Part of `PASS_MS` in which a region writes. The rest is for calls that are under way. */
const WRITE_SHARE = 0.8;

/** Seconds before the next receive. Parameter Store asks for 30 s between the delete and the new put of one name. */
const AFTER_SECONDS = 30;

/** Result of one pass. */
export type Reconciliation = {
  outcome: Outcome;
  /** Whether writes are left although every region that has some left has written others: only time was missing. */
  isBusy: boolean;
  /** Objects of the bucket that only an operator can repair, with the fault of each. */
  faults: ReadonlyMap<string, string>;
};

/**
 * Makes the tree of every region equal to what it should be. A region that fails or hangs does not delay the others. Nothing
 * writes after the pass has ended.
 *
 * @param signal ends the pass early
 */
export async function reconcile(deps: ReconcileDeps, signal: AbortSignal): Promise<Reconciliation> {
  const passMs = deps.passMs ?? PASS_MS;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(passMs)]);
  const writeUntil = deps.clock.now().getTime() + passMs * WRITE_SHARE;
  const deleted = new Set(deps.deletions.external);
  const desired = await readWithin(deps, limit);
  if (!desired)
    return {
      outcome: retryLater('nothing-declared', { afterSeconds: 60 }),
      isBusy: false,
      faults: new Map(),
    };
  for (const { source, error } of desired.unread) {
    deps.logger.warn('source cannot be read, its parameters are held', { source, error: errorText(error) });
  }
  const results = await Promise.all(
    deps.regions.map((region) => attemptRegion(region, desired, deleted, deps, { limit, writeUntil })),
  );
  forgetDeletions(deps, deleted, results[0]);
  const waiting = results.filter(({ left }) => left.length > 0);
  return {
    outcome: outcomeOf(desired, results),
    isBusy: waiting.length > 0 && waiting.every(({ written }) => written > 0),
    faults: faultsOf(desired, results),
  };
}

async function readWithin(deps: ReconcileDeps, limit: AbortSignal): Promise<Desired | undefined> {
  try {
    return await abortable(readDesired(deps), limit);
  } catch (error) {
    if (!limit.aborted) throw error;
    throw new RetryableError('source-unreadable', 'the sources of the tree do not answer', { cause: error });
  }
}

type RegionResult = {
  region: string;
  written: number;
  deleted: number;
  drift: number;
  left: readonly string[];
  /** `isFault`: the source of the value has to change. */
  refused: { name: string; problem: string; isFault: boolean }[];
  error?: string;
};

type Limits = { limit: AbortSignal; writeUntil: number };

async function attemptRegion(
  region: Region,
  desired: Desired,
  deleted: ReadonlySet<string>,
  deps: ReconcileDeps,
  limits: Limits,
): Promise<RegionResult> {
  try {
    return await reconcileRegion(region, desired, deleted, deps, limits);
  } catch (thrown) {
    const error = errorText(thrown);
    deps.logger.warn('region failed', { region: region.region, error });
    return { region: region.region, written: 0, deleted: 0, drift: 0, left: [], refused: [], error };
  }
}

async function reconcileRegion(
  { region, port }: Region,
  desired: Desired,
  deleted: ReadonlySet<string>,
  deps: ReconcileDeps,
  { limit, writeUntil }: Limits,
): Promise<RegionResult> {
  const present = await abortable(port.list(deps.root, limit), limit);
  const plan = planTree(deps.root, desired, present, deleted);
  const applied = await applyPlan(plan, port, {
    now: () => deps.clock.now().getTime(),
    until: writeUntil,
    signal: limit,
    ...(deps.pauseMs !== undefined && { pauseMs: deps.pauseMs }),
  });
  // Change events come from the home region only.
  if (region === deps.regions[0]?.region) {
    for (const name of applied.deleted) deps.deletions.own.add(name);
  }
  const refused = [
    ...plan.refused.map((each) => ({ ...each, isFault: true })),
    ...applied.refusedByAws.map(({ name, error, isFault }) => ({ name, problem: error, isFault })),
  ];
  if (refused.length > 0) deps.logger.warn('parameters cannot be written', { region, refused });
  const repaired = repairedNames(plan, applied);
  if (repaired.length > 0) {
    deps.metrics.add('ParameterDrift', repaired.length, {});
    deps.logger.warn('somebody else changed the tree: it was set back', { region, names: repaired });
  }
  return {
    region,
    written: applied.written.length,
    deleted: applied.deleted.length,
    drift: repaired.length,
    left: applied.left,
    refused,
  };
}

/** A parameter that Parameter Store does not let be overwritten was made so by somebody else. Its date is not relevant. */
function repairedNames(plan: Plan, applied: Applied): string[] {
  const changed = [...applied.written, ...applied.deleted];
  return changed.filter((name) => plan.drift.has(name) || applied.replaced.includes(name));
}

/** Keeps the deletions that the next pass still has to repair and count. */
function forgetDeletions(
  deps: ReconcileDeps,
  deleted: ReadonlySet<string>,
  home: RegionResult | undefined,
): void {
  if (!home || home.error !== undefined) return;
  for (const name of deleted) if (!home.left.includes(name)) deps.deletions.external.delete(name);
}

function outcomeOf({ unread }: Desired, results: readonly RegionResult[]): Outcome {
  const detail = Object.fromEntries(
    results.map(({ region, refused, left, ...result }) => [
      region,
      { ...result, left: left.length, refused: refused.length },
    ]),
  );
  if (results.some(({ error }) => error !== undefined)) return retryLater('region-failed', { detail });
  if (unread.some(({ error }) => !(error instanceof PermanentError))) {
    return retryLater('source-unreadable', {
      detail: { ...detail, unread: unread.map(({ source }) => source) },
    });
  }
  if (results.some(({ left }) => left.length > 0)) {
    return retryLater('writes-left', { afterSeconds: AFTER_SECONDS, detail });
  }
  return done(detail);
}

/** A fault belongs to the object that has the value, so no other object's event is refused because of it. */
function faultsOf({ unread, expected }: Desired, results: readonly RegionResult[]): Map<string, string> {
  const faults = new Map<string, Set<string>>();
  const add = (source: string, fault: string) =>
    faults.set(source, (faults.get(source) ?? new Set()).add(fault));
  for (const { source, error } of unread) if (error instanceof PermanentError) add(source, error.message);
  for (const { name, problem, isFault } of results.flatMap(({ refused }) => refused)) {
    const source = expected.get(name)?.source;
    if (isFault && source !== undefined) add(source, `${name} ${problem}`);
  }
  return new Map([...faults].map(([source, texts]) => [source, [...texts].join('; ')]));
}
