import type { AgentStatus } from './agents/driver.ts';
import type { RunnerState } from './state.ts';

/** One observation of the instance. A field is undefined if its source did not answer. */
export type Observation = {
  now: number;
  /** Target lifecycle state of Auto Scaling. */
  target: string | undefined;
  /** There is a Spot interruption notice. */
  reclaimed: boolean | undefined;
  agent: AgentStatus | undefined;
  /** Why no further job should run here. */
  unhealthy: string | undefined;
};

/** The actions of one step, in this order. */
export type Action =
  | { do: 'stop-intake' }
  | { do: 'begin-drain'; why: 'terminated' | 'reclaimed' }
  | { do: 'report-ready' }
  | { do: 'report-drained'; seconds: number }
  | { do: 'report-unhealthy'; reason: string }
  | { do: 'start-agent' }
  | { do: 'report-idle'; seconds: number };

/** When each report was sent last; milliseconds since 1970. */
export type LastReportedAt = { ready: number; drained: number; idle: number };

export type WatchTimes = {
  /** Infinite for an instance that never reports Idle. */
  idleTimeoutMinutes: number;
  drainTimeoutSeconds: number;
};

/**
 * Intervals at which a report is repeated, in seconds. A single Ready or Drained can be lost or can arrive before its hook is
 * active; the group can be at its minimum at the first Idle.
 */
export const REPEAT_SECONDS = 30;
export const REPEAT_IDLE_SECONDS = 300;

/**
 * Timeout of the launch hook, in seconds. The instance cannot observe that its launch hook is completed: its metadata reads
 * InService throughout the hook. So Ready and the heartbeats of the boot go on for this long.
 */
export const LAUNCH_HOOK_SECONDS = 300;

/** The actions of one step; pure, so that tests can try every order of events. */
export function watchStep(
  state: RunnerState,
  observation: Observation,
  last: LastReportedAt,
  times: WatchTimes,
): Action[] {
  const { target, reclaimed, unhealthy, agent, now } = observation;
  if (state.phase === 'draining') return drainStep(state, observation, last);
  if (target === 'Terminated') return [{ do: 'begin-drain', why: 'terminated' }];
  if (state.phase === 'failed') return [];
  const ready: Action[] =
    isLaunching(state, now) && now - last.ready >= REPEAT_SECONDS * 1000 ? [{ do: 'report-ready' }] : [];
  // An instance in a warm pool is stopped, and boots again when it is needed.
  if (target?.startsWith('Warmed:')) return ready;
  if (reclaimed) return [{ do: 'begin-drain', why: 'reclaimed' }];
  if (unhealthy !== undefined && !state.unhealthyReported) {
    return [{ do: 'stop-intake' }, { do: 'report-unhealthy', reason: unhealthy }];
  }
  // An instance without an agent costs its price and never takes a job.
  if (agent?.state === 'gone' && !state.unhealthyReported) return [...ready, { do: 'start-agent' }];
  const idle = idleSeconds(observation);
  if (idle >= times.idleTimeoutMinutes * 60 && now - last.idle >= REPEAT_IDLE_SECONDS * 1000) {
    return [...ready, { do: 'report-idle', seconds: idle }];
  }
  return ready;
}

/**
 * The heartbeat that is due, if any. An agent without an answer counts as busy. The heartbeats of a drain stop at its timeout,
 * so that a hung job does not hold an instance for ever.
 */
export function heartbeat(
  state: RunnerState,
  observation: Pick<Observation, 'now' | 'agent'>,
  times: WatchTimes,
): { phase: 'boot' } | { phase: 'drain'; job?: string; seconds: { drain: number } } | undefined {
  const { now, agent } = observation;
  if (state.phase === 'draining') {
    const drain = (now - state.since) / 1000;
    if (!isBusy(agent) || drain > times.drainTimeoutSeconds) return undefined;
    return { phase: 'drain', seconds: { drain }, ...(agent?.state === 'busy' && { job: agent.job }) };
  }
  return state.phase === 'ready' && isLaunching(state, now) ? { phase: 'boot' } : undefined;
}

/** `watch` stops the intake before every observation of a drain, so an agent that is free now stays free. */
function drainStep(state: RunnerState, observation: Observation, last: LastReportedAt): Action[] {
  const { now, agent, target } = observation;
  // A reclaimed instance waits in no hook until Auto Scaling has begun to terminate it.
  if (isBusy(agent) || target !== 'Terminated') return [];
  if (now - last.drained < REPEAT_SECONDS * 1000) return [];
  return [{ do: 'report-drained', seconds: (now - state.since) / 1000 }];
}

function isBusy(agent: AgentStatus | undefined): boolean {
  return agent === undefined || agent.state === 'busy';
}

function isLaunching({ launch }: RunnerState, now: number): boolean {
  return launch !== undefined && now - launch.at < LAUNCH_HOOK_SECONDS * 1000;
}

function idleSeconds({ agent, now }: Observation): number {
  return agent?.state === 'idle' ? (now - agent.since.getTime()) / 1000 : 0;
}
