import type { AgentFacts, AgentStatus } from './agents/driver.ts';
import type { RunnerState } from './state.ts';

/** One observation of the instance. A field is undefined if its source did not answer. */
export type Observation = {
  now: number;
  /** Target lifecycle state of Auto Scaling. */
  target: string | undefined;
  /** Time of the Spot interruption; null without a notice. */
  reclaimedAt: number | null | undefined;
  agent: AgentStatus | undefined;
  facts: AgentFacts;
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
  /** Undefined: a drain has no limit but that of Auto Scaling. */
  drainTimeoutSeconds: number | undefined;
};

/**
 * Intervals at which a report is repeated, in seconds. A single Ready or Drained can be lost or can arrive before its hook is
 * active; the group can be at its minimum at the first Idle.
 */
export const REPEAT_SECONDS = 30;
export const REPEAT_IDLE_SECONDS = 300;

/**
 * Timeout of the launch hook, in seconds. Ready and the heartbeats of the boot go on for this long on an instance that requests
 * no registration: it cannot observe that its launch hook is completed.
 */
export const LAUNCH_HOOK_SECONDS = 300;

/**
 * Time for which an agent accepts jobs at least before its instance is idle, in milliseconds, if the idle timeout is not shorter: a provider
 * assigns a job within a minute.
 */
const ASSIGNMENT_MS = 60_000;

/**
 * Longest time for which an instance that waits for the budget of registrations is not idle, in milliseconds. An installation issues 150 per
 * minute. Instances that end before their turn are replaced, and the next ones wait as well.
 */
const TURN_MS = 600_000;

/** The actions of one step; pure, so that tests can try every order of events. */
export function watchStep(
  state: RunnerState,
  observation: Observation,
  last: LastReportedAt,
  times: WatchTimes,
): Action[] {
  const { target, reclaimedAt, unhealthy, agent, now } = observation;
  if (state.phase === 'draining') return drainStep(state, observation, last);
  if (target === 'Terminated') return [{ do: 'begin-drain', why: 'terminated' }];
  if (state.phase === 'failed') return [];
  const ready: Action[] =
    isLaunching(state, observation) && now - last.ready >= REPEAT_SECONDS * 1000
      ? [{ do: 'report-ready' }]
      : [];
  // An instance in a warm pool is stopped, and boots again when it is needed.
  if (target?.startsWith('Warmed:')) return ready;
  if (reclaimedAt) return [{ do: 'begin-drain', why: 'reclaimed' }];
  if (unhealthy !== undefined && !state.unhealthyReported) {
    return [{ do: 'stop-intake' }, { do: 'report-unhealthy', reason: unhealthy }];
  }
  // An instance without an agent costs its price and never takes a job. It is idle all the same: without a provider it goes.
  const start: Action[] = agent?.state === 'gone' && !state.unhealthyReported ? [{ do: 'start-agent' }] : [];
  const idle = idleSeconds(state, observation);
  const timeoutMs = times.idleTimeoutMinutes * 60_000;
  const isNew =
    agent?.state === 'idle' &&
    now - (observation.facts.listeningSince ?? 0) < Math.min(ASSIGNMENT_MS, timeoutMs);
  const isDue = idle * 1000 >= timeoutMs && !isNew && now - last.idle >= REPEAT_IDLE_SECONDS * 1000;
  return [...ready, ...start, ...(isDue ? [{ do: 'report-idle', seconds: idle } as const] : [])];
}

/**
 * The heartbeat that is due, if any. An agent without an answer counts as busy. An agent that is idle in a drain, and whose
 * registration is removed, is about to end: if it never does, the timeout of the hook ends the wait.
 */
export function heartbeat(
  state: RunnerState,
  observation: Pick<Observation, 'now' | 'agent' | 'facts'>,
  times: WatchTimes,
): { phase: 'boot' } | { phase: 'drain'; job?: string; seconds: { drain: number } } | undefined {
  const { now, agent, facts } = observation;
  if (state.phase === 'draining') {
    const drain = (now - state.since) / 1000;
    const limit = times.drainTimeoutSeconds ?? Number.POSITIVE_INFINITY;
    const canGetJob = agent?.state === 'idle' && facts.isReleasing === true;
    if (!(canHaveJob(agent) || canGetJob) || drain > limit) return undefined;
    return { phase: 'drain', seconds: { drain }, ...(agent?.state === 'busy' && { job: agent.job }) };
  }
  return state.phase === 'ready' && isLaunching(state, observation) ? { phase: 'boot' } : undefined;
}

/** Only an agent that has ended cannot have a job: a provider can assign one to an idle agent until its last moment. */
function drainStep(state: RunnerState, observation: Observation, last: LastReportedAt): Action[] {
  const { now, agent, target } = observation;
  // A reclaimed instance waits in no hook until Auto Scaling has begun to terminate it.
  if (agent?.state !== 'gone' || target !== 'Terminated') return [];
  if (now - last.drained < REPEAT_SECONDS * 1000) return [];
  return [{ do: 'report-drained', seconds: (now - state.since) / 1000 }];
}

function canHaveJob(agent: AgentStatus | undefined): boolean {
  return agent === undefined || agent.state === 'busy' || agent.state === 'starting';
}

/** Whether the launch hook can still wait. */
function isLaunching({ launch }: RunnerState, { facts, now }: Pick<Observation, 'facts' | 'now'>): boolean {
  if (launch === undefined) return false;
  if (facts.registers) return (facts.inServiceAt ?? 0) < launch.at;
  return now - launch.at < LAUNCH_HOOK_SECONDS * 1000;
}

/**
 * Since when an instance is idle at the earliest: the last job's end or InService, whatever happened to agents in between; or the end of its
 * wait for its turn.
 */
export function idleFrom({ idleSince, launch, since }: RunnerState, facts: AgentFacts): number {
  const from = Math.max(idleSince ?? launch?.at ?? since, facts.lastJobEnd ?? 0);
  return Math.max(from, Math.min(facts.waitsUntil ?? 0, from + TURN_MS));
}

/** 0 for an agent that can have a job. */
function idleSeconds(state: RunnerState, { agent, facts, now }: Observation): number {
  return canHaveJob(agent) ? 0 : (now - idleFrom(state, facts)) / 1000;
}
