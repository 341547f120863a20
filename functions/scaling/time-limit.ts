import { untilAborted } from '../../shared/runtime/until-aborted.ts';
import type { ScalingDeps } from './ports.ts';

/** Runs a poll with a time limit after which nothing is changed any more, and counts its failure. */
export async function withTimeLimit<T>(
  limitMs: number,
  message: AbortSignal,
  deps: ScalingDeps,
  run: (signal: AbortSignal, deps: ScalingDeps) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.any([message, AbortSignal.timeout(limitMs)]);
  try {
    return await run(signal, {
      ...deps,
      store: untilAborted(signal, deps.store, ['write']),
      autoScaling: untilAborted(signal, deps.autoScaling, ['setDesired']),
    });
  } catch (error) {
    deps.metrics.add('ScalingFailures', 1, {});
    throw error;
  }
}
