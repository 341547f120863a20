import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../shared/runtime/errors.ts';
import { limitTime, raceAbort } from './abortable.ts';
import { CALL_LIMIT_MS, START_LIMIT_MS } from './agents/driver.ts';
import type { RunnerConfig } from './config.ts';
import type { Runner } from './create-runner.ts';
import { startHeartbeat } from './heartbeat.ts';
import type { ReportBody } from './reporter.ts';
import { newState, type RunnerState } from './state.ts';
import {
  type Action,
  heartbeat,
  type LastReportedAt,
  type Observation,
  type WatchTimes,
  watchStep,
} from './watch-step.ts';

/** Time between two reports about the build cache, in seconds: the period of its alarm. */
const CACHE_REPORT_SECONDS = 300;

/** What the loop and its heartbeat share. */
type Watch = {
  runner: Runner;
  times: WatchTimes;
  state: RunnerState;
  agent: Observation['agent'];
  last: LastReportedAt;
  /** The last answer about a Spot interruption. */
  reclaimedAt: number | null;
  /** Last time at which the end of the idle time was written to the disk. */
  idleWritten: number;
  /** Whether the intake is stopped for an instance that takes no further job. */
  isIntakeStopped: boolean;
  /** A start of the agent that has not ended yet. */
  isStarting: boolean;
  /** Whether the uploads of the build cache have had their time. */
  isCacheDrained: boolean;
  /** The last error of each source: an error that persists is logged once. */
  errors: Map<string, string>;
  stopHeartbeat: () => void;
};

/**
 * Observes the instance every few seconds and performs the actions of `watchStep`, until `signal` is aborted. No failure ends
 * the loop. It survives restarts: the state file has what matters, and everything else is observed again.
 */
export async function watch(runner: Runner, signal: AbortSignal): Promise<void> {
  const state = (await runner.states.read(runner.instanceId)) ?? newState(runner.instanceId, runner.now());
  const context: Watch = {
    runner,
    times: watchTimes(runner.config),
    state,
    agent: undefined,
    last: { ready: state.launch?.at ?? 0, drained: 0, idle: 0 },
    reclaimedAt: null,
    idleWritten: 0,
    isIntakeStopped: false,
    isStarting: false,
    isCacheDrained: false,
    errors: new Map(),
    stopHeartbeat: () => {},
  };
  restartHeartbeat(context);
  const stopCacheReports = startHeartbeat(CACHE_REPORT_SECONDS, () => runner.cache.report(runner.reporter));
  try {
    while (!signal.aborted) {
      await raceAbort(signal, step(context)).catch((error: unknown) => {
        if (!signal.aborted) runner.log(`watch: ${errorText(error)}`);
      });
      await untilNextStep(runner, signal);
    }
  } finally {
    context.stopHeartbeat();
    void stopCacheReports();
  }
}

/** Waits until the next poll, or until the agent has changed: the next job must not wait for a poll. */
async function untilNextStep({ config, agent }: Runner, signal: AbortSignal): Promise<void> {
  const wait = new AbortController();
  const either = AbortSignal.any([wait.signal, signal]);
  const poll = sleep(config.pollSeconds * 1000, undefined, { signal: either }).catch(() => undefined);
  // Without an answer the poll decides.
  const changed = agent.changed?.(either).catch(() => poll);
  await Promise.race(changed ? [poll, changed] : [poll]);
  wait.abort();
}

/**
 * An instance of a warming group never reports Idle: the `warming` function alone sets the size of such a group, and an
 * instance of the minimum that is terminated during a run would be replaced by one that repeats the run.
 */
function watchTimes({ warming, idleTimeoutMinutes, drainTimeoutSeconds }: RunnerConfig): WatchTimes {
  return {
    idleTimeoutMinutes: warming ? Number.POSITIVE_INFINITY : idleTimeoutMinutes,
    drainTimeoutSeconds,
  };
}

async function step(context: Watch): Promise<void> {
  const { runner } = context;
  const observation = await observe(context);
  context.agent = observation.agent;
  await noteIdle(context, observation);
  for (const action of watchStep(context.state, observation, context.last, context.times)) {
    await perform(action, context);
  }
  await runner.states.flush();
}

/** Least time between two writes of the idle time while a job runs, in milliseconds. */
const WRITE_IDLE_MS = 60_000;

/** Keeps the start of the idle time on the disk: the end of the last job, or InService. */
async function noteIdle(context: Watch, { agent, facts, now }: Observation): Promise<void> {
  const { state, runner } = context;
  const isBusy = agent?.state === 'busy';
  const first = state.idleSince === undefined ? facts.inServiceAt : undefined;
  const idleSince = isBusy ? now : first;
  if (idleSince === undefined) return;
  context.state = { ...state, idleSince };
  // After a restart in between the idle time is at most this much too long.
  if (isBusy && now - context.idleWritten < WRITE_IDLE_MS) return;
  context.idleWritten = now;
  context.state = await runner.states.update(state.instanceId, { idleSince });
}

/** On a timer of its own, so that a source that does not answer delays no heartbeat. */
function restartHeartbeat(context: Watch): void {
  const { runner } = context;
  context.stopHeartbeat();
  const stop = startHeartbeat(runner.config.heartbeatSeconds, async () => {
    const seen = { now: runner.now(), agent: context.agent, facts: runner.agent.facts() };
    const due = heartbeat(context.state, seen, context.times);
    if (due) await runner.reporter.trySend({ report: 'Runner Heartbeat', ...due });
  });
  context.stopHeartbeat = () => void stop();
}

async function observe(context: Watch): Promise<Observation> {
  const { metadata, agent, health, now } = context.runner;
  await stopIntakeIfDue(context);
  const [target, reclaimedAt, status, unhealthy] = await Promise.all([
    ask(context, 'target lifecycle state', () => metadata.targetLifecycleState()),
    ask(context, 'Spot interruption notice', () => metadata.reclaimedAt()),
    ask(context, 'status of the agent', () => agent.status()),
    ask(context, 'health', () => health.problem()),
  ]);
  if (reclaimedAt !== undefined) context.reclaimedAt = reclaimedAt;
  const facts = agent.facts();
  return { now: now(), target, reclaimedAt, agent: status, facts, unhealthy: unhealthy ?? facts.problem };
}

/**
 * In a drain at each observation: it must be in effect before the status counts, also after a restart of this program. For an
 * instance that is unhealthy or whose boot failed, until it has succeeded once.
 */
async function stopIntakeIfDue(context: Watch): Promise<void> {
  const { phase, unhealthyReported } = context.state;
  const isOut = (phase === 'failed' || unhealthyReported) && !context.isIntakeStopped;
  if (phase === 'draining' || isOut) await stopIntake(context);
}

async function stopIntake(context: Watch): Promise<void> {
  const { agent } = context.runner;
  const stopped = await ask(context, 'stop of intake', async () => {
    await agent.stopIntake(context.reclaimedAt ?? undefined);
    return true;
  });
  context.isIntakeStopped = stopped === true;
}

/** @returns the answer, or undefined if there is none in time */
async function ask<T>(context: Watch, what: string, question: () => Promise<T>): Promise<T | undefined> {
  const { errors, runner } = context;
  try {
    const answer = await limitTime(CALL_LIMIT_MS, what, question());
    errors.delete(what);
    return answer;
  } catch (error) {
    const text = errorText(error);
    if (errors.get(what) !== text) runner.log(`${what}: ${text}`);
    errors.set(what, text);
    return undefined;
  }
}

async function perform(action: Action, context: Watch): Promise<void> {
  const { runner, state, last } = context;
  const { reporter, states, log } = runner;
  const now = runner.now();
  switch (action.do) {
    case 'begin-drain': {
      log(`draining: the instance is ${action.why}`);
      const change = { phase: 'draining', since: now } as const;
      context.state = { ...state, ...change };
      restartHeartbeat(context);
      await stopIntake(context);
      context.state = await states.update(state.instanceId, change);
      return;
    }
    case 'stop-intake':
      return stopIntake(context);
    case 'report-ready':
      if (state.launch && (await reporter.trySend(state.launch.report as ReportBody))) last.ready = now;
      return;
    case 'report-drained':
      await drainCache(context);
      if (await reporter.trySend({ report: 'Runner Drained', seconds: { drain: action.seconds } })) {
        log('reported: Runner Drained');
        last.drained = now;
      }
      return;
    case 'report-unhealthy':
      if (await reporter.trySend({ report: 'Runner Unhealthy', reason: action.reason })) {
        log(`reported: Runner Unhealthy: ${action.reason}`);
        context.state = await states.update(state.instanceId, { unhealthyReported: true });
      }
      return;
    case 'start-agent':
      return startAgent(context);
    case 'report-idle':
      if (await reporter.trySend({ report: 'Runner Idle', idleSeconds: action.seconds })) last.idle = now;
      return;
  }
}

/** Once, after the last job: what it has built is not lost with the instance. The heartbeats of the drain continue. */
async function drainCache(context: Watch): Promise<void> {
  const { cache, reporter } = context.runner;
  if (context.isCacheDrained) return;
  context.isCacheDrained = true;
  await cache.drain(context.reclaimedAt);
  await cache.report(reporter);
}

/** Not awaited: a slow start must not delay a drain. */
async function startAgent(context: Watch): Promise<void> {
  const { agent, log } = context.runner;
  if (context.isStarting) return;
  context.isStarting = true;
  limitTime(START_LIMIT_MS, 'start of the agent', agent.start())
    .catch((error: unknown) => log(`start of the agent: ${errorText(error)}`))
    .finally(() => {
      context.isStarting = false;
    });
}
