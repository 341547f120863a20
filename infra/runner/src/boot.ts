import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../../shared/runtime/errors.ts';
import { limitTime, raceAbort } from './abortable.ts';
import { CALL_LIMIT_MS } from './agents/driver.ts';
import type { Runner } from './create-runner.ts';
import { startHeartbeat } from './heartbeat.ts';
import type { ReportBody } from './reporter.ts';
import type { RestoreResult } from './snapshot/index.ts';
import { newState, type RunnerState } from './state.ts';

/**
 * The outcome of a boot. `leaving`: the instance must go before it has taken a job. `stopped`: the program was asked to end,
 * and its next start continues the boot.
 */
export type BootOutcome = 'ready' | 'leaving' | 'failed' | 'already-failed' | 'stopped';

/**
 * The share of the boot's time that a restore may take. A restore that takes longer ends cold: if a slow S3 failed the boot,
 * the replacement would meet the same S3, and no runner would ever start.
 */
const RESTORE_SHARE = 0.6;

/**
 * From power-on to Runner Ready or Runner Failed, and always to exactly one of them. Ready means that the tree is mounted and the
 * agent's program can be executed. No agent is registered or started here: `watch` does so once the instance is in service. So an
 * instance that Auto Scaling gives up has no job, and neither a provider nor a credential fails a boot.
 *
 * The report is decided once and written down; a program that is killed before it sends the report sends it after its restart.
 * Only an instance that must go before it is ready reports neither: it never takes a job, and `watch` reports that it is drained.
 *
 * @param stop ends the boot as soon as it is aborted
 */
export async function boot(
  runner: Runner,
  stop: AbortSignal = new AbortController().signal,
): Promise<BootOutcome> {
  try {
    return await bootOrResume(runner, stop);
  } catch (error) {
    if (stop.aborted) return 'stopped';
    throw error;
  }
}

async function bootOrResume(runner: Runner, stop: AbortSignal): Promise<BootOutcome> {
  const before = await runner.states.read(runner.instanceId);
  if (before?.phase === 'failed') {
    if (!before.pendingReport) return 'already-failed';
    await flushPendingReport(before, runner, stop);
    return 'failed';
  }
  if (before && before.phase !== 'booting') return resume(before, runner, stop);
  const state = before ?? newState(runner.instanceId, runner.now());
  await runner.states.write(state);
  const stopHeartbeat = startBootHeartbeat(runner);
  try {
    const next = await runner.states.update(runner.instanceId, await decide(state, runner, stop));
    if (next.phase === 'draining') return 'leaving';
    await flushPendingReport(next, runner, stop);
    return next.phase === 'failed' ? 'failed' : 'ready';
  } finally {
    // Not awaited: a heartbeat that is being sent must delay neither the outcome nor a stop.
    void stopHeartbeat();
  }
}

function startBootHeartbeat({ config, reporter }: Runner): () => Promise<void> {
  return startHeartbeat(config.heartbeatSeconds, () =>
    reporter.trySend({ report: 'Runner Heartbeat', phase: 'boot' }),
  );
}

/** Restores, prepares the agent's program, and decides on the report before the deadline. */
async function decide(state: RunnerState, runner: Runner, stop: AbortSignal): Promise<Partial<RunnerState>> {
  // Counted from the first start: a restart of the program gives a boot no additional time.
  const left = state.since + runner.config.bootTimeoutSeconds * 1000 - runner.now();
  const deadline = AbortSignal.any([timeUp('the boot deadline has passed', left), stop]);
  let stage = 'restore';
  try {
    const restored = await raceAbort(deadline, restoreOnce(state, runner, left * RESTORE_SHARE, stop));
    stage = 'agent';
    const next = await destination(runner);
    if (next === 'gone') {
      runner.log('the instance is about to be terminated: it takes no job');
      return { phase: 'draining', since: runner.now() };
    }
    await raceAbort(deadline, runner.agent.prepare(deadline));
    const seconds = { restore: restored.seconds, boot: (runner.now() - state.since) / 1000 };
    return ready(readyReport(runner, restored, seconds), runner);
  } catch (error) {
    stop.throwIfAborted();
    const reason = errorText(error);
    runner.log(`boot failed at ${stage}: ${reason}`);
    return { phase: 'failed', pendingReport: { report: 'Runner Failed', stage, reason } };
  }
}

function ready(report: ReportBody, { now }: Runner): Partial<RunnerState> {
  return { phase: 'ready', pendingReport: report, launch: { report, at: now() } };
}

function timeUp(reason: string, milliseconds: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error(reason)), Math.max(0, milliseconds)).unref();
  return controller.signal;
}

/** Restores unless this boot has done so before a restart of the program: a job may use the warm tree already. */
async function restoreOnce(
  state: RunnerState,
  runner: Runner,
  leftMs: number,
  stop: AbortSignal,
): Promise<RestoreResult> {
  if (state.restored && (await runner.isWarm())) return state.restored;
  const restored = await restore(runner, leftMs, stop);
  await writeMarker(runner, restored);
  await runner.states.update(runner.instanceId, { restored });
  const id = restored.id ? ` (${restored.id})` : '';
  runner.log(`${restored.outcome} in ${restored.seconds.toFixed(1)} s${id}`);
  return restored;
}

/** @throws when `stop` is aborted: a restore that was stopped half-way is no cold boot */
async function restore(runner: Runner, leftMs: number, stop: AbortSignal): Promise<RestoreResult> {
  const signal = AbortSignal.any([timeUp('the restore takes too long', leftMs), stop]);
  const restored = await runner.restore(signal);
  stop.throwIfAborted();
  return restored;
}

/**
 * Whether Auto Scaling or Spot takes the instance before it has taken a job. Without an answer the boot continues, and `watch`
 * asks again.
 */
async function destination({ metadata, log }: Runner): Promise<'gone' | 'service'> {
  try {
    const [target, reclaimedAt] = await limitTime(
      CALL_LIMIT_MS,
      'the metadata service',
      Promise.all([metadata.targetLifecycleState(), metadata.reclaimedAt()]),
    );
    return target === 'Terminated' || reclaimedAt !== null ? 'gone' : 'service';
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

async function flushPendingReport(state: RunnerState, runner: Runner, stop: AbortSignal): Promise<void> {
  if (!state.pendingReport) return;
  await runner.reporter.send(state.pendingReport as ReportBody, stop);
  await runner.states.update(state.instanceId, { pendingReport: null });
}

/**
 * The instance was rebooted or the program restarted after a successful boot. Mounts do not survive a reboot and are restored.
 * Nothing here can fail the boot any more. What is still in place stays untouched: jobs use it.
 */
async function resume(state: RunnerState, runner: Runner, stop: AbortSignal): Promise<BootOutcome> {
  if (state.phase !== 'ready') {
    await flushPendingReport(state, runner, stop);
    return 'ready';
  }
  const isWarm = await runner.isWarm();
  // An instance that was stopped in a warm pool has a launch hook waiting again; elsewhere the heartbeats have no effect.
  const stopHeartbeat = isWarm ? undefined : startBootHeartbeat(runner);
  try {
    const change = isWarm ? {} : await raceAbort(stop, restoreAgain(runner, stop));
    // After a restore that failed no job may run; `watch` reports the instance as unhealthy.
    if (change) {
      const next = isWarm ? state : await runner.states.update(state.instanceId, change);
      await flushPendingReport(next, runner, stop);
    }
    stop.throwIfAborted();
    return 'ready';
  } finally {
    void stopHeartbeat?.();
  }
}

/** @returns the Runner Ready to send, or undefined if the restore failed */
async function restoreAgain(runner: Runner, stop: AbortSignal): Promise<Partial<RunnerState> | undefined> {
  const began = runner.now();
  try {
    const restored = await restore(runner, runner.config.bootTimeoutSeconds * 1000 * RESTORE_SHARE, stop);
    await writeMarker(runner, restored);
    const seconds = { restore: restored.seconds, boot: (runner.now() - began) / 1000 };
    return ready(readyReport(runner, restored, seconds), runner);
  } catch (error) {
    stop.throwIfAborted();
    await runner.health.mark(`restore after a restart of the instance: ${errorText(error)}`);
    return undefined;
  }
}

/**
 * Jobs that start during the restore wait for this file without a timeout of their own. So every restore that ends writes it,
 * and a restore whose outcome cannot be written fails the boot.
 */
async function writeMarker(runner: Runner, restored: RestoreResult): Promise<void> {
  const { state } = runner.config.directories;
  const file = join(state, 'warm.json');
  await mkdir(state, { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify({ outcome: restored.outcome, id: restored.id }));
  await rename(`${file}.new`, file);
}
