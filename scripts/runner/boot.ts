import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../shared/runtime/errors.ts';
import { startHeart } from './heart.ts';
import type { ReportBody } from './reporter.ts';
import type { Runner } from './runner.ts';
import type { RestoreResult } from './snapshot/index.ts';
import { newState, type RunnerState } from './state.ts';

/** How the boot ended: what the program's exit code says. */
export type BootOutcome = 'ready' | 'failed' | 'already-failed';

/** Longest text of a reason in a report. */
const MAX_REASON = 1000;

/**
 * From power-on to taking jobs, and always to exactly one of Runner Ready and Runner Failed: what is to be said is decided
 * once and written down, and a program that was killed before saying it says it when it runs again.
 */
export async function boot(runner: Runner): Promise<BootOutcome> {
  const before = await runner.states.read(runner.instanceId);
  if (before?.phase === 'failed') return before.owed ? sayFailed(before, runner) : 'already-failed';
  if (before && before.phase !== 'booting') return resume(before, runner);
  const state = before ?? newState(runner.instanceId, runner.now());
  await runner.states.write(state);
  const stopHeart = startHeart(runner.config.heartbeatSeconds, () =>
    runner.reporter.trySend({ report: 'Runner Heartbeat', phase: 'boot' }),
  );
  try {
    const next = await decide(state, runner);
    await runner.states.write(next);
    return next.phase === 'failed' ? await sayFailed(next, runner) : await sayReady(next, runner);
  } finally {
    await stopHeart();
  }
}

/** Does the work, and turns whatever happens within the deadline into the report that is owed. */
async function decide(state: RunnerState, runner: Runner): Promise<RunnerState> {
  // Counted from the first start: a program that is killed and started again has no more time than one that is not.
  const left = state.since + runner.config.bootTimeoutSeconds * 1000 - runner.now();
  const deadline = AbortSignal.timeout(Math.max(0, left));
  let stage = 'restore';
  try {
    const restored = await within(deadline, runner.restore(deadline));
    await writeMarker(runner, restored);
    runner.log(
      `${restored.outcome} in ${restored.seconds.toFixed(1)} s${restored.id ? ` (${restored.id})` : ''}`,
    );
    stage = 'agent';
    await within(deadline, runner.host.start());
    const seconds = { restore: restored.seconds, boot: (runner.now() - state.since) / 1000 };
    return { ...state, phase: 'ready', owed: readyReport(runner, restored, seconds) };
  } catch (error) {
    const reason = errorText(error).slice(0, MAX_REASON);
    runner.log(`boot failed at ${stage}: ${reason}`);
    return { ...state, phase: 'failed', owed: { report: 'Runner Failed', stage, reason } };
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

async function sayReady(state: RunnerState, runner: Runner): Promise<BootOutcome> {
  await sayOwed(state, runner);
  return 'ready';
}

async function sayFailed(state: RunnerState, runner: Runner): Promise<BootOutcome> {
  await sayOwed(state, runner);
  return 'failed';
}

async function sayOwed(state: RunnerState, runner: Runner): Promise<void> {
  if (!state.owed) return;
  await runner.reporter.send(state.owed as ReportBody);
  await runner.states.write({ ...state, owed: null });
}

/**
 * The machine was rebooted, or the program restarted, after the boot had succeeded. Mounts do not survive the one, nor the
 * agent, so both are looked after; neither can fail the boot any more.
 */
async function resume(state: RunnerState, runner: Runner): Promise<BootOutcome> {
  if (state.phase === 'ready') {
    const restored = await runner.restore(AbortSignal.timeout(runner.config.bootTimeoutSeconds * 1000));
    await writeMarker(runner, restored);
    await runner.host.start();
  }
  return sayReady(state, runner);
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

/** Rejects when the time is up, even if the work does not notice. */
function within<T>(deadline: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error('the boot deadline has passed'));
    if (deadline.aborted) late();
    deadline.addEventListener('abort', late, { once: true });
    work.then(resolve, reject).finally(() => deadline.removeEventListener('abort', late));
  });
}
