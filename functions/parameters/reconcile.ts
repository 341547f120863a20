import { setTimeout as sleep } from 'node:timers/promises';
import { DECLARED_PARAMETERS_KEY } from '../../shared/fleet/bucket-keys.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { errorText, RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, retryLater } from '../../shared/runtime/outcome.ts';
import { CorruptRecord } from '../../shared/snapshot/records.ts';
import { applyPlan } from './apply.ts';
import { type Desired, readDesired, type Sources } from './desired.ts';
import { planTree } from './plan.ts';
import type { ParameterPort } from './ports.ts';

/** One look may write for this long, in milliseconds; the function's timeout is two minutes. */
const WRITE_MS = 60_000;

/** A region that has not answered for this long, in milliseconds, is given up until the next look. */
const REGION_MS = 90_000;

/** Tries again this soon, in seconds. Also the pause that Parameter Store wants between delete and new put. */
const AFTER_SECONDS = 30;

/** Parameters that were deleted. */
export type Removals = {
  /** By whoever it was, as events say. */
  told: Set<string>;
  /** By this function, so that the event about it, which is still to come, is not taken for a hand edit. */
  own: Set<string>;
};

type Region = { region: string; port: ParameterPort };

export type ParametersContext = Sources & {
  /** Parameter Store of the home region first, then of each replica region. */
  regions: readonly Region[];
  /** What change events have told of deletes since the last look: their own name is all that is left of them. */
  removals: Removals;
  clock: Clock;
  countDrift: (count: number) => void;
  warn: (message: string, detail: Record<string, unknown>) => void;
  /** Pause between writes in milliseconds, for tests. */
  pauseMs?: number;
  /** `REGION_MS`, for tests. */
  regionMs?: number;
};

/** What one look came to. */
export type LookResult = {
  outcome: Outcome;
  /** Objects of the bucket that only an operator can mend, and what is wrong with each. */
  faults: ReadonlyMap<string, string>;
};

/** Makes the tree of every region what it should be. One region that fails or hangs does not hold up the others. */
export async function reconcile(context: ParametersContext): Promise<LookResult> {
  const removed = new Set(context.removals.told);
  const desired = await readDesired(context);
  if (!desired) return { outcome: retryLater('nothing-declared', { afterSeconds: 60 }), faults: new Map() };
  for (const { source, error } of desired.unread) {
    context.warn('parameters are held: their source cannot be read', { source, error: errorText(error) });
  }
  const looks = await Promise.all(
    context.regions.map((region) => lookAtRegion(region, desired, removed, context)),
  );
  if (looks[0]?.error === undefined) for (const name of removed) context.removals.told.delete(name);
  return { outcome: outcomeOf(desired, looks), faults: faultsOf(desired, looks) };
}

type RegionLook = {
  region: string;
  written: number;
  deleted: number;
  drift: number;
  left: number;
  refused: { name: string; problem: string }[];
  error?: string;
};

async function lookAtRegion(
  { region, port }: Region,
  desired: Desired,
  removed: ReadonlySet<string>,
  context: ParametersContext,
): Promise<RegionLook> {
  const limit = new AbortController();
  try {
    return await Promise.race([
      reconcileRegion({ region, port }, desired, removed, context),
      sleep(context.regionMs ?? REGION_MS, undefined, { signal: limit.signal }).then(() => {
        throw new RetryableError('region-silent', `Parameter Store in ${region} does not answer`);
      }),
    ]);
  } catch (error) {
    context.warn('a region could not be brought up to date', { region, error: errorText(error) });
    return { region, written: 0, deleted: 0, drift: 0, left: 0, refused: [], error: errorText(error) };
  } finally {
    limit.abort();
  }
}

async function reconcileRegion(
  { region, port }: Region,
  desired: Desired,
  removed: ReadonlySet<string>,
  context: ParametersContext,
): Promise<RegionLook> {
  const plan = planTree(context.root, desired, await port.list(context.root), removed);
  const now = () => context.clock.now().getTime();
  const applied = await applyPlan(plan, port, {
    now,
    until: now() + WRITE_MS,
    ...(context.pauseMs !== undefined && { pauseMs: context.pauseMs }),
  });
  // Events come from the home region alone.
  if (region === context.regions[0]?.region)
    for (const name of applied.deleted) context.removals.own.add(name);
  const refused = [
    ...plan.refused,
    ...applied.refusedByAws.map(({ name, error }) => ({ name, problem: error })),
  ];
  if (refused.length > 0) context.warn('parameters that cannot be written', { region, refused });
  const repaired = [...applied.written, ...applied.deleted].filter((name) => plan.drift.has(name));
  if (repaired.length > 0) {
    context.countDrift(repaired.length);
    context.warn('somebody else changed the tree: it was set back', { region, names: repaired });
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

function outcomeOf({ unread }: Desired, looks: readonly RegionLook[]): Outcome {
  const detail = Object.fromEntries(
    looks.map(({ region, refused, ...look }) => [region, { ...look, refused: refused.length }]),
  );
  if (looks.some(({ error }) => error !== undefined)) return retryLater('region-failed', { detail });
  if (unread.some(({ error }) => !(error instanceof CorruptRecord))) {
    return retryLater('source-unreadable', {
      detail: { ...detail, unread: unread.map(({ source }) => source) },
    });
  }
  if (looks.some(({ left }) => left > 0)) {
    return retryLater('writes-left', { afterSeconds: AFTER_SECONDS, detail });
  }
  return done(detail);
}

function faultsOf({ unread }: Desired, looks: readonly RegionLook[]): Map<string, string> {
  const faults = new Map<string, string>();
  for (const { source, error } of unread) {
    if (error instanceof CorruptRecord) faults.set(source, error.message);
  }
  const refused = looks.flatMap((look) => look.refused).map(({ name, problem }) => `${name} ${problem}`);
  if (refused.length > 0) faults.set(DECLARED_PARAMETERS_KEY, [...new Set(refused)].join('; '));
  return faults;
}
