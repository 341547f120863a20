import type { Clock } from '../../shared/runtime/clock.ts';
import { done, type Ending, retryLater } from '../../shared/runtime/ending.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { ObjectStore } from '../../shared/snapshot/store.ts';
import { applyPlan } from './apply.ts';
import { capacityParameters, readDeclared, snapshotParameter } from './desired.ts';
import { planTree } from './plan.ts';
import type { GroupsPort, ParameterPort } from './ports.ts';

/** One look may write for this long, in milliseconds; the function's timeout is two minutes. */
const WRITE_MS = 60_000;

/** Tries again this soon, in seconds, after throttling. */
const AFTER_THROTTLING = 20;

export type ParametersContext = {
  prefix: string;
  root: string;
  store: ObjectStore;
  groups: GroupsPort;
  /** Parameter Store of the home region first, then of each replica region. */
  regions: readonly { region: string; port: ParameterPort }[];
  /**
   * Parameters that change events have named since the last look. Our own writes are named too, but need no repair by
   * then: what does need one was changed by somebody else.
   */
  edited: Set<string>;
  clock: Clock;
  countDrift: (count: number) => void;
  warn: (message: string, detail: Record<string, unknown>) => void;
  /** Pause between writes in milliseconds, for tests. */
  pauseMs?: number;
};

/** Makes the tree of every region what it should be. One region that fails does not hold up the others. */
export async function reconcile(context: ParametersContext): Promise<Ending> {
  const desired = await readDesired(context);
  // Hold: without the declared part nothing is known about what should be, least of all what should go.
  if (!desired) return retryLater('nothing-declared', { afterSeconds: 60 });
  const edited = new Set(context.edited);
  context.edited.clear();
  const results: Record<string, unknown> = {};
  const unfinished: string[] = [];
  const failed: string[] = [];
  for (const { region, port } of context.regions) {
    try {
      const result = await reconcileRegion(region, port, desired, edited, context);
      results[region] = result;
      if (result.left > 0) unfinished.push(region);
    } catch (error) {
      results[region] = { error: errorText(error) };
      context.warn('a region could not be brought up to date', { region, error: errorText(error) });
      failed.push(region);
    }
  }
  if (failed.length > 0) return retryLater('region-failed', { detail: results });
  if (unfinished.length > 0)
    return retryLater('writes-left', { afterSeconds: AFTER_THROTTLING, detail: results });
  return done(results);
}

async function reconcileRegion(
  region: string,
  port: ParameterPort,
  desired: ReadonlyMap<string, string>,
  edited: ReadonlySet<string>,
  context: ParametersContext,
) {
  const plan = planTree(context.root, desired, await port.list(context.root));
  if (plan.refused.length > 0)
    context.warn('parameters that cannot be written', { region, refused: plan.refused });
  const now = () => context.clock.now().getTime();
  const applied = await applyPlan(plan, port, {
    now,
    until: now() + WRITE_MS,
    ...(context.pauseMs !== undefined && { pauseMs: context.pauseMs }),
  });
  if (applied.refusedByAws.length > 0) {
    context.warn('AWS refused parameters', { region, refused: applied.refusedByAws });
  }
  const repaired = [...applied.written, ...applied.deleted].filter((name) => edited.has(name));
  if (repaired.length > 0) {
    context.countDrift(repaired.length);
    context.warn('somebody else changed the tree: it was set back', { region, names: repaired });
  }
  return {
    written: applied.written.length,
    deleted: applied.deleted.length,
    drift: repaired.length,
    refused: plan.refused.length + applied.refusedByAws.length,
    left: applied.left,
  };
}

/** @returns undefined if nothing is declared; throws if a source cannot be read, so that nothing is changed */
async function readDesired(context: ParametersContext): Promise<Map<string, string> | undefined> {
  const declared = await readDeclared(context.store);
  if (!declared) return undefined;
  const desired = new Map(Object.entries(declared.parameters));
  for (const set of declared.warmingSets) {
    const snapshot = await snapshotParameter(context.store, set);
    if (snapshot !== undefined) desired.set(`${context.root}/warming/${set}/snapshot`, snapshot);
  }
  const capacities = capacityParameters(context.root, context.prefix, declared, await context.groups.list());
  for (const [name, value] of capacities) desired.set(name, value);
  return desired;
}
