import { setTimeout as sleep } from 'node:timers/promises';
import { isAwsError, isTransient } from '../../shared/runtime/aws-errors.ts';
import { errorText } from '../../shared/runtime/errors.ts';
import { abortable } from './abortable.ts';
import type { Plan } from './plan.ts';
import { DELETE_BATCH, type ParameterPort } from './ports.ts';

/** Pause between writes, in milliseconds: AWS Support has named 3 writes per second as the limit of an account. */
const WRITE_PAUSE_MS = 350;

/** Result of a plan. */
export type Applied = {
  written: string[];
  deleted: string[];
  /** Those of `deleted` that Parameter Store did not let be overwritten. The next pass writes them. */
  replaced: string[];
  /** Names that a later pass writes or deletes. */
  left: string[];
  refusedByAws: { name: string; error: string; isFault: boolean }[];
};

/** One call. */
type Step = { names: readonly string[]; write?: Plan['writes'][number] };

/**
 * Applies a plan with one call after the other. Deletes come first, since a region has room for 10,000 standard parameters.
 * It stops at throttling, at the end of the time and when `signal` aborts. A parameter that AWS refuses does not stop the others.
 *
 * @param options.until stop at this time, in milliseconds since 1970
 * @param options.pauseMs between two calls
 */
export async function applyPlan(
  plan: Plan,
  port: ParameterPort,
  options: { now: () => number; until: number; signal: AbortSignal; pauseMs?: number },
): Promise<Applied> {
  const { now, until, signal } = options;
  const applied: Applied = { written: [], deleted: [], replaced: [], left: [], refusedByAws: [] };
  const steps = stepsOf(plan);
  for (const [index, step] of steps.entries()) {
    if (index > 0) await pause(options.pauseMs ?? WRITE_PAUSE_MS, signal);
    if (signal.aborted || now() >= until || !(await take(step, port, applied, signal))) {
      applied.left.push(...steps.slice(index).flatMap(({ names }) => names));
      break;
    }
  }
  // The next pass writes what was deleted so that it can be written.
  applied.left.push(...applied.deleted.filter((name) => plan.replaces.includes(name)), ...applied.replaced);
  return applied;
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds === 0) return;
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
}

function stepsOf(plan: Plan): Step[] {
  const removed = [...plan.deletes, ...plan.replaces];
  const batches: Step[] = [];
  for (let first = 0; first < removed.length; first += DELETE_BATCH) {
    batches.push({ names: removed.slice(first, first + DELETE_BATCH) });
  }
  return [...batches, ...plan.writes.map((write) => ({ names: [write.name], write }))];
}

/** @returns false if this call and those after it must wait */
async function take(
  step: Step,
  port: ParameterPort,
  applied: Applied,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    if (!step.write) {
      await abortable(port.remove(step.names, signal), signal);
      applied.deleted.push(...step.names);
    } else if (await put(step.write, port, signal)) {
      applied.written.push(step.write.name);
    } else {
      await abortable(port.remove([step.write.name], signal), signal);
      applied.deleted.push(step.write.name);
      applied.replaced.push(step.write.name);
    }
    return true;
  } catch (error) {
    if (signal.aborted || isTransient(error)) return false;
    if (!isRefusal(error)) throw error;
    const isFault = !isAwsError(error, 'ParameterLimitExceeded');
    for (const name of step.names) applied.refusedByAws.push({ name, error: errorText(error), isFault });
    return true;
  }
}

/** @returns false if the parameter that exists cannot be overwritten */
async function put(
  write: Plan['writes'][number],
  port: ParameterPort,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await abortable(port.put(write.name, write.value, signal), signal);
    return true;
  } catch (error) {
    if (write.exists && preventsOverwrite(error)) return false;
    throw error;
  }
}

/** Names of errors whose cause is the parameter that exists, not the value that is written. */
const OVERWRITE_ERRORS = [
  'HierarchyTypeMismatchException',
  'ParameterMaxVersionLimitExceeded',
  'ParameterPatternMismatchException',
];

/** Parameter Store has one error name for a downgrade from the advanced tier and for a wrong value: only the text differs. */
function preventsOverwrite(error: unknown): boolean {
  if (OVERWRITE_ERRORS.some((name) => isAwsError(error, name))) return true;
  return isAwsError(error, 'ValidationException') && /downgrade/i.test(error.message);
}

/** Names of errors about one parameter, not about all of them. */
const REFUSALS = [
  ...OVERWRITE_ERRORS,
  'ValidationException',
  'HierarchyLevelLimitExceededException',
  'UnsupportedParameterType',
  'InvalidAllowedPatternException',
  'ParameterLimitExceeded',
];

function isRefusal(error: unknown): boolean {
  return REFUSALS.some((name) => isAwsError(error, name));
}
