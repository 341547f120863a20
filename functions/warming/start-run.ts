import { done, type Ending, skipped } from '../../shared/runtime/ending.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { wakeGroup } from './capacity.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun } from './end-run.ts';
import { type Run, readRun, writeRun } from './run.ts';

/**
 * Starts a run, if none is under way. The lock is taken before the machine is asked for: of two schedules that fire at
 * once only one gets it, and one that dies in between is found by the next check, which asks again.
 *
 * @param due when the schedule fired: one that fired before the last run began is a late copy
 */
export async function startRun(set: NamedSet, due: Date, context: WarmingContext): Promise<Ending> {
  const last = await readRun(context.store, set.name);
  const now = context.clock.now();
  if (last?.run.state === 'running') {
    if (new Date(last.run.deadline) > now) {
      await wakeGroup(set, context);
      return skipped('run-in-progress', { startedAt: last.run.startedAt });
    }
    await failRun(set, last, 'deadline', context);
    throw new RetryableError('took-over', 'a dead run was ended; the next one starts now', {
      afterSeconds: 1,
    });
  }
  if (last && due < new Date(last.run.startedAt))
    return skipped('late-copy', { startedAt: last.run.startedAt });
  const run: Run = {
    version: 1,
    set: set.name,
    group: set.group,
    state: 'running',
    startedAt: now.toISOString(),
    deadline: new Date(now.getTime() + set.deadlineMinutes * 60_000).toISOString(),
  };
  if (!(await writeRun(context.store, run, last?.etag))) return skipped('run-in-progress');
  await wakeGroup(set, context);
  return done({ started: run.startedAt, deadline: run.deadline });
}
