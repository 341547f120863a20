import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../../shared/runtime/errors.ts';
import { startHeart } from './heart.ts';
import type { ReportBody } from './reporter.ts';
import type { Runner } from './runner.ts';
import type { RestoreResult } from './snapshot/index.ts';
import { newState, type RunnerState } from './state.ts';
import { within } from './within.ts';

/** How the boot ended: what the program's exit code says. `leaving`: the machine has to go before it took any job. */
export type BootOutcome = 'ready' | 'leaving' | 'failed' | 'already-failed';

/**
 * The share of a boot's time that a restore may take. One that is not done by then ends cold: were S3 slow and the boot failed
 * for it, its replacement would fare no better, and no runner would ever come up.
 */
const RESTORE_SHARE = 0.6;

/** Longest text of a reason in a report. */
const MAX_REASON = 1000;

/**
 * From power-on to taking jobs, and always to exactly one of Runner Ready and Runner Failed: what is to be said is decided
 * once and written down, and a program that was killed before saying it says it when it runs again. Only a machine that
 * must go before it is ready says neither: it never takes a job, and `watch` says that it is drained.
 */
export async function boot(runner: Runner): Promise<BootOutcome> {
  const before = await runner.states.read(runner.instanceId);
  if (before?.phase === 'failed') {
    if (!before.owed) return 'already-failed';
    await sayOwed(before, runner);
    return 'failed';
  }
  if (before && before.phase !== 'booting') return resume(before, runner);
  const state = before ?? newState(runner.instanceId, runner.now());
  await runner.states.write(state);
  const stopHeart = startHeart(runner.config.heartbeatSeconds, () =>
    runner.reporter.trySend({ report: 'Runner Heartbeat', phase: 'boot' }),
  );
  try {
    const next = await runner.states.update(runner.instanceId, await decide(state, runner));
    if (next.phase === 'draining') return 'leaving';
    await sayOwed(next, runner);
    return next.phase === 'failed' ? 'failed' : 'ready';
  } finally {
    await stopHeart();
  }
}

/** Does the work, and turns whatever happens within the deadline into the report that is owed. */
async function decide(state: RunnerState, runner: Runner): Promise<Partial<RunnerState>> {
  // Counted from the first start: a program that is killed and started again has no more time than one that is not.
  const left = state.since + runner.config.bootTimeoutSeconds * 1000 - runner.now();
  const deadline = timeUp('the boot deadline has passed', left);
  let stage = 'restore';
  try {
    const restored = await within(deadline, restoreOnce(state, runner, left * RESTORE_SHARE));
    stage = 'agent';
    const next = await destination(runner);
    if (next === 'gone') {
      runner.log('the instance has to go already: no agent is started');
      return { phase: 'draining', since: runner.now() };
    }
    if (next === 'pool') runner.log('the instance goes to the warm pool: no agent is started');
    else await within(deadline, runner.host.start());
    const seconds = { restore: restored.seconds, boot: (runner.now() - state.since) / 1000 };
    return { phase: 'ready', owed: readyReport(runner, restored, seconds) };
  } catch (error) {
    const reason = errorText(error).slice(0, MAX_REASON);
    runner.log(`boot failed at ${stage}: ${reason}`);
    // An agent that came up too late must not take a job on a machine that is given up.
    if (stage === 'agent') {
      await runner.host
        .stopIntake()
        .catch((late: unknown) => runner.log(`stop of intake: ${errorText(late)}`));
    }
    return { phase: 'failed', owed: { report: 'Runner Failed', stage, reason } };
  }
}

function timeUp(reason: string, milliseconds: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error(reason)), Math.max(0, milliseconds)).unref();
  return controller.signal;
}

/** Restores, unless this boot has done so before the program was started again: a job may be at work there already. */
async function restoreOnce(state: RunnerState, runner: Runner, leftMs: number): Promise<RestoreResult> {
  if (state.restored && (await runner.isWarm())) return state.restored;
  const restored = await runner.restore(timeUp('the restore takes too long', leftMs));
  await writeMarker(runner, restored);
  await runner.states.update(runner.instanceId, { restored });
  const id = restored.id ? ` (${restored.id})` : '';
  runner.log(`${restored.outcome} in ${restored.seconds.toFixed(1)} s${id}`);
  return restored;
}

/**
 * What becomes of the machine next. One that Auto Scaling or Spot takes before it has taken a job gets none: its terminate hook
 * has been waiting since, without heartbeats, and could cut a job off at any moment. Nor does one that a warm pool will stop.
 * Where it cannot be found out, `watch` will.
 */
async function destination({ metadata, log }: Runner): Promise<'gone' | 'pool' | 'service'> {
  try {
    const [target, reclaimed] = await Promise.all([metadata.targetLifecycleState(), metadata.isReclaimed()]);
    if (target === 'Terminated' || reclaimed) return 'gone';
    return target?.startsWith('Warmed:') ? 'pool' : 'service';
  } catch (error) {
    log(`target lifecycle state: ${errorText(error)}`);
    return 'service';
  }
}

function readyReport(
  runner: Runner,
  restored: RestoreResult,
  seconds: { restore: number; boot: number },
): ReportBody {
  return {
    report: 'Runner Ready',
    snapshot: {
      set: runner.config.warmingSet ?? 'none',
      outcome: restored.outcome,
      ...(restored.id !== undefined && { id: restored.id }),
      ...(restored.broken && { broken: restored.broken }),
    },
    seconds,
  };
}

async function sayOwed(state: RunnerState, runner: Runner): Promise<void> {
  if (!state.owed) return;
  await runner.reporter.send(state.owed as ReportBody);
  await runner.states.update(state.instanceId, { owed: null });
}

/**
 * The machine was rebooted, or the program restarted, after the boot had succeeded. Mounts do not survive the one, nor the
 * agent, so both are looked after; neither can fail the boot any more. What stands is left alone: jobs work there.
 */
async function resume(state: RunnerState, runner: Runner): Promise<BootOutcome> {
  if (state.phase !== 'ready') {
    await sayOwed(state, runner);
    return 'ready';
  }
  const began = runner.now();
  let { owed } = state;
  if (!(await runner.isWarm())) {
    const patience = runner.config.bootTimeoutSeconds * 1000 * RESTORE_SHARE;
    const restored = await runner.restore(timeUp('the restore takes too long', patience));
    await writeMarker(runner, restored);
    // A machine that was stopped in a warm pool has a launch hook waiting again; where there is none, nothing comes of it.
    const seconds = { restore: restored.seconds, boot: (runner.now() - began) / 1000 };
    owed = readyReport(runner, restored, seconds);
  }
  // `watch` tries again: a host that is down must not keep it from draining.
  await runner.host.start().catch((error: unknown) => runner.log(`agent: ${errorText(error)}`));
  await sayOwed({ ...state, owed }, runner);
  return 'ready';
}

/**
 * Jobs that start beside the restore wait for this file, without a timeout of their own: so it is written whatever the
 * outcome, and a restore that cannot say how it ended fails the boot.
 */
async function writeMarker(runner: Runner, restored: RestoreResult): Promise<void> {
  const { state } = runner.config.directories;
  const file = join(state, 'warm.json');
  await mkdir(state, { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify({ outcome: restored.outcome, id: restored.id }));
  await rename(`${file}.new`, file);
}
