import type { AgentStatus } from './agents/driver.ts';
import type { RunnerState } from './state.ts';

/** What one look at the machine has found. Undefined where it could not be found out. */
export type Observation = {
  now: number;
  /** What Auto Scaling wants the instance to become. */
  target: string | undefined;
  /** Spot takes the instance back. */
  reclaimed: boolean | undefined;
  agent: AgentStatus | undefined;
  /** Why no further job should run here. */
  unhealthy: string | undefined;
};

/** What is to be done, in this order. */
export type Action =
  | { do: 'stop-intake' }
  | { do: 'begin-drain'; why: 'terminated' | 'reclaimed' }
  | { do: 'say-drained'; seconds: number }
  | { do: 'heartbeat'; job: string | undefined }
  | { do: 'say-unhealthy'; reason: string }
  | { do: 'start-agent' }
  | { do: 'say-idle'; seconds: number };

/** When things were last said; milliseconds since 1970. */
export type LastSaid = { heartbeat: number; drained: number; idle: number };

export type WatchTimes = {
  heartbeatSeconds: number;
  idleTimeoutMinutes: number;
  drainTimeoutSeconds: number;
};

/**
 * Drained and Idle are said again after so long, in seconds, for as long as the machine is still there: the first may have
 * come before the hook began, or while the group was at its minimum.
 */
export const SAY_AGAIN_SECONDS = 30;
export const IDLE_AGAIN_SECONDS = 300;

/** What to do next; pure, so that every order of events can be tried. */
export function watchStep(
  state: RunnerState,
  seen: Observation,
  said: LastSaid,
  times: WatchTimes,
): Action[] {
  if (state.phase === 'draining') return drainStep(state, seen, said, times);
  if (seen.target === 'Terminated') return [{ do: 'begin-drain', why: 'terminated' }];
  // A machine in a warm pool is stopped, and boots again when it is needed.
  if (state.phase === 'failed' || seen.target?.startsWith('Warmed:')) return [];
  if (seen.reclaimed) return [{ do: 'begin-drain', why: 'reclaimed' }];
  if (seen.unhealthy !== undefined && !state.unhealthyReported) {
    return [{ do: 'stop-intake' }, { do: 'say-unhealthy', reason: seen.unhealthy }];
  }
  // A machine without an agent would cost its price and never take a job again.
  if (seen.agent?.state === 'gone' && !state.unhealthyReported) return [{ do: 'start-agent' }];
  const idle = idleSeconds(seen);
  if (idle >= times.idleTimeoutMinutes * 60 && seen.now - said.idle >= IDLE_AGAIN_SECONDS * 1000) {
    return [{ do: 'say-idle', seconds: idle }];
  }
  return [];
}

/**
 * Intake is stopped at every step, not only at the first: it must hold before the agent's answer is believed, also when
 * this program has just been started again. An agent that cannot be asked counts as busy.
 */
function drainStep(state: RunnerState, seen: Observation, said: LastSaid, times: WatchTimes): Action[] {
  const drainSeconds = (seen.now - state.since) / 1000;
  const isFree = seen.agent !== undefined && seen.agent.state !== 'busy';
  if (isFree) {
    // A reclaimed instance is not waiting in a hook until Auto Scaling has been asked to let it go.
    if (seen.target !== 'Terminated') return [];
    if (seen.now - said.drained < SAY_AGAIN_SECONDS * 1000) return [];
    return [{ do: 'say-drained', seconds: drainSeconds }];
  }
  if (drainSeconds > times.drainTimeoutSeconds) return [];
  if (seen.now - said.heartbeat < times.heartbeatSeconds * 1000) return [];
  return [{ do: 'heartbeat', job: seen.agent?.state === 'busy' ? seen.agent.job : undefined }];
}

function idleSeconds(seen: Observation): number {
  return seen.agent?.state === 'idle' ? (seen.now - seen.agent.since.getTime()) / 1000 : 0;
}
