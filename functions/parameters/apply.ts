import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient } from '../../shared/runtime/aws-errors.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import type { Plan } from './plan.ts';
import { DELETE_BATCH, type ParameterPort } from './ports.ts';

/** Pause between writes, in milliseconds: AWS Support has told of 3 writes a second for an account. */
const WRITE_PAUSE_MS = 350;

/** What came of a plan. */
export type Applied = {
  written: string[];
  deleted: string[];
  /** How much of it is still to be done, by a later look. */
  left: number;
  refusedByAws: { name: string; error: string }[];
};

/** One call. */
type Step = { names: readonly string[]; value?: string };

/**
 * Carries a plan out, slowly and one call after the other; deletes first, since there may be no room for what is new
 * (10,000 standard parameters a region). Stops at the first sign of throttling or when the time is up: what is left is
 * found by the next look. A parameter that AWS refuses for good does not stop the others.
 *
 * @param options.until stop at this time, in milliseconds since 1970
 * @param options.pauseMs between two calls
 */
export async function applyPlan(
  plan: Plan,
  port: ParameterPort,
  options: { now: () => number; until: number; pauseMs?: number },
): Promise<Applied> {
  const applied: Applied = { written: [], deleted: [], left: 0, refusedByAws: [] };
  const steps = stepsOf(plan);
  for (const [index, step] of steps.entries()) {
    if (index > 0) await sleep(options.pauseMs ?? WRITE_PAUSE_MS);
    if (options.now() >= options.until || !(await take(step, port, applied))) {
      applied.left = steps.length - index;
      break;
    }
  }
  // What was deleted to change its type is written by the next look.
  applied.left += applied.deleted.filter((name) => plan.replaces.includes(name)).length;
  return applied;
}

function stepsOf(plan: Plan): Step[] {
  const gone = [...plan.deletes, ...plan.replaces];
  const batches: Step[] = [];
  for (let first = 0; first < gone.length; first += DELETE_BATCH) {
    batches.push({ names: gone.slice(first, first + DELETE_BATCH) });
  }
  return [...batches, ...plan.writes.map(({ name, value }) => ({ names: [name], value }))];
}

/** @returns false if AWS wants this and what follows later */
async function take(step: Step, port: ParameterPort, applied: Applied): Promise<boolean> {
  try {
    if (step.value === undefined) {
      await port.remove(step.names);
      applied.deleted.push(...step.names);
      return true;
    }
    for (const name of step.names) {
      await port.put(name, step.value);
      applied.written.push(name);
    }
    return true;
  } catch (error) {
    if (isTransient(error)) return false;
    if (!isRefusal(error)) throw error;
    for (const name of step.names) applied.refusedByAws.push({ name, error: errorText(error) });
    return true;
  }
}

/** Errors about one parameter, not about all of them. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^(ValidationException|HierarchyTypeMismatchException|HierarchyLevelLimitExceededException|UnsupportedParameterType|ParameterPatternMismatchException|InvalidAllowedPatternException|ParameterMaxVersionLimitExceeded|ParameterLimitExceeded)$/.test(
      error.name,
    )
  );
}
