import { parameterProblem } from './names.ts';

/** A parameter as it is in Parameter Store. */
export type Present = { name: string; value: string; type: string; version: number };

/** What has to be done so that the tree is as it should be. */
export type Plan = {
  writes: { name: string; value: string }[];
  deletes: string[];
  /** Wanted parameters that cannot be written, and why. */
  refused: { name: string; problem: string }[];
};

/**
 * Compares what should be with what is. Written is only what differs, deleted only what is below `root` and no longer
 * wanted, so that a second plan right after the first is empty.
 *
 * @param desired every parameter that should be, by full name
 * @param present every parameter below `root`
 */
export function planTree(
  root: string,
  desired: ReadonlyMap<string, string>,
  present: readonly Present[],
): Plan {
  const plan: Plan = { writes: [], deletes: [], refused: [] };
  const found = new Map(present.map((parameter) => [parameter.name, parameter]));
  for (const [name, value] of desired) {
    const problem = parameterProblem(root, name, value);
    if (problem !== undefined) {
      plan.refused.push({ name, problem });
      continue;
    }
    const there = found.get(name);
    if (there?.type === 'String' && there.value === value) continue;
    plan.writes.push({ name, value });
  }
  for (const { name } of present) {
    if (!name.startsWith(`${root}/`) || desired.has(name)) continue;
    plan.deletes.push(name);
  }
  return plan;
}
