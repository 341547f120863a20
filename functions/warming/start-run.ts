import { dead, done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import type { NamedSet, WarmingContext } from './context.ts';
import { failRun } from './end-run.ts';
import { goOn } from './go-on.ts';
import { isRunning, overAt, type Run, readRun, writeRun } from './run.ts';

/**
 * Starts a run, if none is under way. The lock is taken before the machine is asked for: of two schedules that fire at
 * once only one gets it, and one that dies in between is found by the next check, which asks again.
 *
 * @param due when the schedule fired. One that fired before the last run was over is a late copy: it was answered by that
 *   run, or told then that one was in progress.
 */
export async function startRun(set: NamedSet, due: Date, context: WarmingContext): Promise<Outcome> {
  const last = await readRun(set, context);
  const now = context.clock.now();
  if (isRunning(last)) {
    if (new Date(last.run.deadline) > now) {
      const problem = await goOn(set, last, context);
      return problem ? dead(problem) : skipped('run-in-progress', { startedAt: last.run.startedAt });
    }
    await failRun(set, last, 'deadline', context);
    return startRun(set, due, context);
  }
  if (last && isAnswered(due, last.run)) return skipped('late-copy', { startedAt: last.run.startedAt });
  const run: Run = {
    version: 1,
    set: set.name,
    group: set.group,
    state: 'running',
    due: due.toISOString(),
    startedAt: now.toISOString(),
    deadline: new Date(now.getTime() + set.deadlineMinutes * 60_000).toISOString(),
    failedBoots: [],
  };
  const written = await writeRun(run, last?.etag, context);
  if (!written) return skipped('run-in-progress');
  const problem = await goOn(set, written, context);
  return problem ? dead(problem) : done({ started: run.startedAt, deadline: run.deadline });
}

/** By this run, or by having been told of it. Schedules fire at whole seconds. */
function isAnswered(due: Date, run: Run): boolean {
  const over = Math.floor(overAt(run).getTime() / 1000) * 1000;
  return due.getTime() <= Date.parse(run.due) || due.getTime() < over;
}
