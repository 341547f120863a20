import { type Desired, type Expected, isLiveValue } from './desired.ts';
import { isBacklogName, isCapacityName, isOwnName, isSnapshotName, parameterProblem } from './names.ts';
import type { Parameter } from './ports.ts';

/** The changes that make the tree equal to what it should be. */
export type Plan = {
  /** `exists`: the write overwrites a parameter. */
  writes: { name: string; value: string; exists: boolean }[];
  /** Parameters without a source. */
  deletes: string[];
  /**
   * Parameters of another type. Parameter Store never changes a type (API reference of PutParameter), so this plan deletes
   * them and the next plan writes them.
   */
  replaces: string[];
  /** Parameters whose value Parameter Store does not accept, and why. */
  refused: { name: string; problem: string }[];
  /** Those of `writes`, `deletes` and `replaces` that somebody else changed. */
  drift: ReadonlySet<string>;
};

/**
 * Compares the desired tree with the present one. It writes only differences, deletes only what has a name and the type that this
 * function writes and no source, and does not touch what is held.
 *
 * A parameter that is newer than the source of its value was changed by somebody else: this function would have written that
 * value. Auto Scaling's numbers have no date, so a capacity counts only if it is not of the form that this function writes.
 *
 * @param present every parameter below `root`
 * @param deleted names that somebody else deleted, according to change events
 */
export function planTree(
  root: string,
  desired: Pick<Desired, 'expected' | 'isHeld' | 'declaredAt'>,
  present: readonly Parameter[],
  deleted: ReadonlySet<string> = new Set(),
): Plan {
  const drift = new Set<string>();
  const plan: Plan = { writes: [], deletes: [], replaces: [], refused: [], drift };
  const found = new Map(present.map((parameter) => [parameter.name, parameter]));
  for (const [name, expected] of desired.expected) {
    if (desired.isHeld(name)) continue;
    const existing = found.get(name);
    if (existing?.type === 'String' && existing.value === expected.value) continue;
    const problem = parameterProblem(root, name, expected.value);
    if (problem !== undefined) plan.refused.push({ name, problem });
    else if (!existing) plan.writes.push({ name, value: expected.value, exists: false });
    else if (existing.type !== 'String') plan.replaces.push(name);
    else plan.writes.push({ name, value: expected.value, exists: true });
    if (problem === undefined && isDrift(expected, existing, deleted.has(name))) drift.add(name);
  }
  for (const { name, type, modifiedAt } of present) {
    if (desired.expected.has(name) || desired.isHeld(name)) continue;
    if (!isOwnName(root, name) || type !== 'String') continue;
    plan.deletes.push(name);
    const isLive = [isBacklogName, isCapacityName, isSnapshotName].some((isName) => isName(root, name));
    if (!isLive && modifiedAt > desired.declaredAt) drift.add(name);
  }
  // What was written least recently comes first: a pass that cannot write all leaves no parameter out for ever.
  const writtenAt = ({ name }: Plan['writes'][number]) => found.get(name)?.modifiedAt.getTime() ?? 0;
  plan.writes.sort((a, b) => writtenAt(a) - writtenAt(b));
  return plan;
}

function isDrift(expected: Expected, existing: Parameter | undefined, wasDeleted: boolean): boolean {
  if (!existing) return wasDeleted;
  if (existing.type !== 'String') return true;
  return expected.since ? existing.modifiedAt > expected.since : !isLiveValue(existing.value);
}
