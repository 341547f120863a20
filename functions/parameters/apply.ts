import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient } from '../../shared/runtime/aws-errors.ts';
import type { Plan } from './plan.ts';
import type { ParameterPort } from './ports.ts';

/** Pause between writes, in milliseconds: AWS Support has told of 3 writes a second for an account. */
export const WRITE_PAUSE_MS = 350;

/** What came of a plan. */
export type Applied = {
  written: string[];
  deleted: string[];
  left: number;
  refusedByAws: { name: string; error: string }[];
};

/**
 * Carries a plan out, slowly and one call after the other. Stops at the first sign of throttling or when the time is up:
 * what is left is found by the next look. A parameter that AWS refuses for good does not stop the others.
 *
 * @param until stop at this time, in milliseconds since 1970
 */
export async function applyPlan(
  plan: Plan,
  port: ParameterPort,
  options: { now: () => number; until: number; pauseMs?: number },
): Promise<Applied> {
  const applied: Applied = { written: [], deleted: [], left: 0, refusedByAws: [] };
  const pause = options.pauseMs ?? WRITE_PAUSE_MS;
  const total = plan.writes.length + (plan.deletes.length > 0 ? 1 : 0);
  let tried = 0;
  for (const { name, value } of plan.writes) {
    if (options.now() >= options.until) return { ...applied, left: total - tried };
    if (tried > 0) await sleep(pause);
    try {
      await port.put(name, value);
      applied.written.push(name);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      if (isTransient(error)) return { ...applied, left: total - tried };
      if (!isRefusal(error)) throw error;
      applied.refusedByAws.push({ name, error: `${error.name}: ${error.message}` });
    }
    tried += 1;
  }
  if (plan.deletes.length > 0) {
    await port.remove(plan.deletes);
    applied.deleted.push(...plan.deletes);
  }
  return applied;
}

/** Errors about one parameter, not about all of them. */
function isRefusal(error: Error): boolean {
  return /^(ValidationException|HierarchyTypeMismatchException|UnsupportedParameterType|ParameterPatternMismatchException|InvalidAllowedPatternException|ParameterMaxVersionLimitExceeded)$/.test(
    error.name,
  );
}
