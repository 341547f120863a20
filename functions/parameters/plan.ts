import { type Desired, looksLikeCapacity, type Wanted } from './desired.ts';
import { isCapacityName, isSnapshotName, parameterProblem } from './names.ts';

/** A parameter as it is in Parameter Store. */
export type Present = { name: string; value: string; type: string; modifiedAt: Date };

/** What has to be done so that the tree is as it should be. */
export type Plan = {
  writes: { name: string; value: string }[];
  /** No longer wanted. */
  deletes: string[];
  /**
   * Wanted, but there as another type, which Parameter Store never changes: deleted now, and written by the next plan.
   * (API reference of PutParameter: a parameter's type cannot be changed.)
   */
  replaces: string[];
  /** Wanted parameters that cannot be written, and why. */
  refused: { name: string; problem: string }[];
  /** Those of the above that somebody else has changed. */
  drift: ReadonlySet<string>;
};

/**
 * Compares what should be with what is. Written is only what differs, deleted only what is below `root` and no longer
 * wanted, and what is held is not touched at all.
 *
 * Somebody else has changed a parameter that is newer than the source of its value, since this function would have
 * written just that value. Auto Scaling's numbers have no date: there, only what this function would not write counts.
 *
 * @param present every parameter below `root`
 * @param removed names that a change event has told to be deleted, and not by this function
 */
export function planTree(
  root: string,
  desired: Pick<Desired, 'wanted' | 'isHeld' | 'declaredAt'>,
  present: readonly Present[],
  removed: ReadonlySet<string> = new Set(),
): Plan {
  const drift = new Set<string>();
  const plan: Plan = { writes: [], deletes: [], replaces: [], refused: [], drift };
  const found = new Map(present.map((parameter) => [parameter.name, parameter]));
  for (const [name, wanted] of desired.wanted) {
    if (desired.isHeld(name)) continue;
    const problem = parameterProblem(root, name, wanted.value);
    const there = found.get(name);
    if (problem !== undefined) plan.refused.push({ name, problem });
    else if (!there) plan.writes.push({ name, value: wanted.value });
    else if (there.type !== 'String') plan.replaces.push(name);
    else if (there.value !== wanted.value) plan.writes.push({ name, value: wanted.value });
    else continue;
    if (problem === undefined && isDrift(wanted, there, removed.has(name))) drift.add(name);
  }
  for (const { name, modifiedAt } of present) {
    if (!name.startsWith(`${root}/`) || desired.wanted.has(name) || desired.isHeld(name)) continue;
    plan.deletes.push(name);
    const wasLive = isCapacityName(root, name) || isSnapshotName(root, name);
    if (!wasLive && modifiedAt > desired.declaredAt) drift.add(name);
  }
  return plan;
}

function isDrift(wanted: Wanted, there: Present | undefined, wasRemoved: boolean): boolean {
  if (!there) return wasRemoved;
  if (there.type !== 'String') return true;
  return wanted.since ? there.modifiedAt > wanted.since : !looksLikeCapacity(there.value);
}
