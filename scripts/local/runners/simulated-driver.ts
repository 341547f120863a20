import * as v from 'valibot';
import type { AgentDriver, AgentStatus } from '../../../infra/runner/src/agents/driver.ts';
import { RetryableError } from '../../../shared/runtime/errors.ts';

/** Settings of the simulated host, whose jobs take a given time and do nothing. */
export const simulatedSettings = v.strictObject({
  driver: v.literal('simulated'),
  /** The CI service. */
  url: v.pipe(v.string(), v.url()),
  /** Which jobs the agent takes. */
  queue: v.string(),
  /** Program and arguments of the agent. */
  command: v.pipe(v.array(v.string()), v.minLength(1)),
});

export type SimulatedSettings = v.InferOutput<typeof simulatedSettings>;

/** How the agent process is kept: started, or found again after a restart of aw-runner. */
export interface AgentProcess {
  /** Starts the program unless it still runs. Its environment gets `env` added. */
  ensure(command: readonly string[], env: Record<string, string>): Promise<void>;
  isAlive(): Promise<boolean>;
}

/** The host waits this long for a new agent to register, in milliseconds. */
const REGISTER_MS = 15_000;
const LOOK_EVERY_MS = 50;

const agentSchema = v.object({
  state: v.picklist(['idle', 'busy']),
  job: v.optional(v.string()),
  since: v.pipe(v.string(), v.isoTimestamp()),
});

/** @param agentName unique on the host; the instance id */
export function simulatedHost(
  settings: SimulatedSettings,
  agentName: string,
  agent: AgentProcess,
): AgentDriver {
  const about = new URL(`/agents/${encodeURIComponent(agentName)}`, settings.url);
  return {
    async start() {
      await agent.ensure(settings.command, {
        SIMULATED_CI_URL: settings.url,
        SIMULATED_CI_QUEUE: settings.queue,
        SIMULATED_CI_AGENT: agentName,
      });
      const end = performance.now() + REGISTER_MS;
      while ((await fetch(about)).status !== 200) {
        if (performance.now() > end)
          throw new Error(`agent ${agentName} did not register at ${settings.url}`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      }
    },
    async stopIntake() {
      const response = await fetch(new URL(`${about.pathname}/stop`, about), { method: 'PUT' });
      // 404: the host knows no such agent (any more), so it will give it no job.
      if (!response.ok && response.status !== 404) throw unexpected(response.status);
    },
    async status(): Promise<AgentStatus> {
      const response = await fetch(about);
      if (response.status === 404) return { state: 'gone' };
      if (!response.ok) throw unexpected(response.status);
      const { state, job, since } = v.parse(agentSchema, await response.json());
      if (state === 'busy') return { state, job: job ?? 'unknown' };
      return (await agent.isAlive()) ? { state, since: new Date(since) } : { state: 'gone' };
    },
  };
}

function unexpected(status: number): RetryableError {
  return new RetryableError('host-unavailable', `the simulated CI service answered ${status}`);
}
