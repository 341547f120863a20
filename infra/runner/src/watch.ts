import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../shared/runtime/errors.ts';
import { healthProblem } from './health.ts';
import type { Runner } from './runner.ts';
import { newState, type RunnerState } from './state.ts';
import { type Action, type LastSaid, type Observation, watchStep } from './watch-step.ts';

/** The longest text of a report's reason. */
const MAX_REASON = 1000;

/**
 * Looks at the machine every few seconds, and does what `watchStep` says, until `signal` ends it. Survives restarts: what
 * matters is in the state file, and the rest is looked up again.
 */
export async function watch(runner: Runner, signal: AbortSignal): Promise<void> {
  let state = (await runner.states.read(runner.instanceId)) ?? newState(runner.instanceId, runner.now());
  const said: LastSaid = { heartbeat: 0, drained: 0, idle: 0 };
  while (!signal.aborted) {
    const seen = await observe(runner, state);
    try {
      for (const action of watchStep(state, seen, said, runner.config)) {
        state = await act(action, state, said, runner, signal);
      }
    } catch (error) {
      // Told to end while a report was waiting for its next try: the next start says it.
      if (!signal.aborted) throw error;
    }
    await sleep(runner.config.pollSeconds * 1000, undefined, { signal }).catch(() => undefined);
  }
}

/** In a drain the intake is stopped before the agent is asked, each time. */
async function observe(runner: Runner, state: RunnerState): Promise<Observation> {
  const { metadata, host, config } = runner;
  const ask = <T>(what: string, question: () => Promise<T>): Promise<T | undefined> =>
    question().catch((error: unknown) => {
      runner.log(`${what}: ${errorText(error)}`);
      return undefined;
    });
  if (state.phase === 'draining') await ask('stop of intake', () => host.stopIntake());
  const [target, reclaimed, agent, unhealthy] = await Promise.all([
    ask('target lifecycle state', () => metadata.targetLifecycleState()),
    ask('spot notice', () => metadata.isReclaimed()),
    ask('agent', () => host.status()),
    ask('health', () => healthProblem(config.directories.state, config.directories.layers)),
  ]);
  return { now: runner.now(), target, reclaimed, agent, unhealthy };
}

async function act(
  action: Action,
  state: RunnerState,
  said: LastSaid,
  runner: Runner,
  signal: AbortSignal,
): Promise<RunnerState> {
  const { reporter, host, states, log } = runner;
  const now = runner.now();
  switch (action.do) {
    case 'begin-drain': {
      log(`draining: the instance is ${action.why}`);
      const draining = await states.update(state.instanceId, { phase: 'draining', since: now });
      // Not left to the next look: every moment in which a job could still be given out counts.
      await host.stopIntake().catch((error: unknown) => log(`stop of intake: ${errorText(error)}`));
      return draining;
    }
    case 'stop-intake':
      await host.stopIntake().catch((error: unknown) => log(`stop of intake: ${errorText(error)}`));
      return state;
    case 'say-drained':
      await reporter.send({ report: 'Runner Drained', seconds: { drain: action.seconds } }, signal);
      said.drained = now;
      return state;
    case 'heartbeat':
      said.heartbeat = now;
      await reporter.trySend({
        report: 'Runner Heartbeat',
        phase: 'drain',
        ...(action.job !== undefined && { job: action.job }),
      });
      return state;
    case 'say-unhealthy': {
      await reporter.send({ report: 'Runner Unhealthy', reason: action.reason.slice(0, MAX_REASON) }, signal);
      return states.update(state.instanceId, { unhealthyReported: true });
    }
    case 'start-agent':
      log('the agent is gone: starting it');
      await host.start().catch((error: unknown) => log(`agent: ${errorText(error)}`));
      return state;
    case 'say-idle':
      said.idle = now;
      await reporter.trySend({ report: 'Runner Idle', idleSeconds: action.seconds });
      return state;
  }
}
