import { isQuarantined, promote } from '../../shared/snapshot/pointer.ts';
import { readPointer } from '../../shared/snapshot/records.ts';
import { restGroup, type WakeProblem, wakeGroup } from './capacity.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun, finishRun } from './end-run.ts';
import { isRunning, madeSince, readRun, type StoredRun } from './run.ts';
import { listSnapshots } from './stored.ts';

/**
 * Takes a run that is under way one step on: gives it a machine if it has none, fails it if it can have none or is past its
 * deadline. Once its snapshot is there only the verification is still to come, and that needs no machine; after that one
 * the run is over, should whoever verified it not have come to say so.
 *
 * @returns why the run was failed, if it was
 */
export async function goOn(
  set: NamedSet,
  stored: StoredRun,
  context: WarmingContext,
): Promise<WakeProblem | 'deadline' | undefined> {
  const made = await madeBy(set, stored, context);
  if (made) {
    if (!made.isPending) await finishRun(set, made.id, context);
    return undefined;
  }
  if (new Date(stored.run.deadline) <= context.clock.now()) {
    await failRun(set, stored, 'deadline', context);
    return 'deadline';
  }
  const problem = await wakeGroup(set, context);
  if (problem) await failRun(set, stored, problem, context);
  // The run may have ended between the look at it and the machine that was asked for: nobody else would let that one go.
  else if (!isRunning(await readRun(set, context))) await restGroup(set, context);
  return problem;
}

/** The newest snapshot that the run has made and that is not broken; pending: still to be verified. */
async function madeBy(
  set: NamedSet,
  { run }: StoredRun,
  context: WarmingContext,
): Promise<{ id: string; isPending: boolean } | undefined> {
  const made = (await listSnapshots(set, context)).filter(({ id }) => madeSince(run, id));
  if (made.length === 0) return undefined;
  const pointer = (await readPointer(context.store, set.name))?.pointer;
  const id = made.findLast((each) => !pointer || !isQuarantined(pointer, each.id))?.id;
  if (id === undefined) return undefined;
  return { id, isPending: !pointer || promote(pointer, id, context.clock.now()) !== undefined };
}
