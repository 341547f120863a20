import type { Report } from '../../shared/fleet/report.ts';
import { RetryableError } from '../../shared/runtime/errors.ts';
import { done, type Outcome, skipped } from '../../shared/runtime/outcome.ts';
import type { WarmingContext } from './context.ts';
import { failRun } from './end-run.ts';
import { isRunning, readRun, type StoredRun, writeRun } from './run.ts';

/**
 * Auto Scaling replaces a machine whose boot failed, and the next one may well succeed. After as many as this it is not the
 * machines: the run is failed, and does not go on launching until its deadline.
 */
const MAX_FAILED_BOOTS = 3;

/** A machine of a warming group says that it cannot do its run. */
export async function machineFailed(
  report: Extract<Report, { report: 'Runner Failed' | 'Runner Unhealthy' }>,
  context: WarmingContext,
): Promise<Outcome> {
  const failed: string[] = [];
  const noted: string[] = [];
  for (const [name, settings] of Object.entries(context.sets)) {
    if (settings.group !== report.group) continue;
    const set = { ...settings, name };
    const stored = await readRun(set, context);
    // A machine of an earlier run, which is late: this one is not its business.
    if (!isRunning(stored) || Date.parse(report.at) < Date.parse(stored.run.startedAt)) continue;
    if (report.report === 'Runner Failed' && !(await isLastStraw(stored, report.instanceId, context))) {
      noted.push(name);
      continue;
    }
    if (await failRun(set, stored, report.reason, context)) failed.push(name);
  }
  if (failed.length > 0) return done({ failed });
  return noted.length > 0 ? done({ noted }) : skipped('no-run');
}

/** Notes a machine that could not boot, each once. */
async function isLastStraw(
  { run, etag }: StoredRun,
  instanceId: string,
  context: WarmingContext,
): Promise<boolean> {
  const failedBoots = [...new Set([...run.failedBoots, instanceId])];
  if (failedBoots.length >= MAX_FAILED_BOOTS) return true;
  if (failedBoots.length === run.failedBoots.length) return false;
  if (await writeRun({ ...run, failedBoots }, etag, context)) return false;
  throw new RetryableError('run-contended', `the run of set ${run.set} changed meanwhile`);
}
