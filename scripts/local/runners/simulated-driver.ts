import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import type { AgentDriver, AgentFactory, AgentStatus } from '../../../infra/runner/src/agents/driver.ts';
import { type AgentProcess, agentProcess } from '../../../infra/runner/src/agents/process.ts';
import { BadConfig } from '../../../infra/runner/src/config.ts';
import { RetryableError } from '../../../shared/runtime/errors.ts';
import { issuesText } from '../../../shared/runtime/validate.ts';

/** Settings of the simulated CI provider, whose jobs take a given time and do nothing. */
const simulatedSettings = v.strictObject({
  driver: v.literal('simulated'),
  /** The simulated CI provider. */
  url: v.pipe(v.string(), v.url()),
  /** The queue whose jobs the agent takes. */
  queue: v.string(),
  /** Program and arguments of the agent. */
  command: v.pipe(v.array(v.string()), v.minLength(1)),
});

export type SimulatedSettings = v.InferOutput<typeof simulatedSettings>;

/** Longest time until a new agent is registered, in milliseconds. */
const REGISTER_MS = 15_000;
const POLL_MS = 50;

/** Longest time of one request, in milliseconds. */
const REQUEST_MS = 4_000;

const agentSchema = v.object({
  state: v.picklist(['idle', 'busy']),
  job: v.optional(v.string()),
  stopped: v.boolean(),
});

/** Creates the driver from the `agent` part of the configuration. */
export const simulatedAgent: AgentFactory = (settings, { instanceId, stateDirectory }) => {
  const result = v.safeParse(simulatedSettings, settings);
  if (!result.success) throw new BadConfig(`agent: ${issuesText(result.issues)}`);
  return simulatedDriver(result.output, instanceId, agentProcess(stateDirectory));
};

/** @param agentName unique at the provider; the instance id */
export function simulatedDriver(
  settings: SimulatedSettings,
  agentName: string,
  agent: AgentProcess,
): AgentDriver {
  const agentUrl = new URL(`/agents/${encodeURIComponent(agentName)}`, settings.url);
  const request = (url: URL, method = 'GET') =>
    fetch(url, { method, signal: AbortSignal.timeout(REQUEST_MS) });
  return {
    async prepare() {},
    facts: () => ({ registers: false }),
    async start() {
      await agent.ensure(settings.command, {
        SIMULATED_CI_URL: settings.url,
        SIMULATED_CI_QUEUE: settings.queue,
        SIMULATED_CI_AGENT: agentName,
      });
      const end = performance.now() + REGISTER_MS;
      while ((await request(agentUrl)).status !== 200) {
        if (performance.now() > end)
          throw new Error(`agent ${agentName} did not register at ${settings.url}`);
        await sleep(POLL_MS);
      }
    },
    async stopIntake() {
      const response = await request(new URL(`${agentUrl.pathname}/stop`, agentUrl), 'PUT');
      // 404: the provider does not list the agent and assigns it no job.
      if (!response.ok && response.status !== 404) throw unexpected(response.status);
    },
    async status(): Promise<AgentStatus> {
      const response = await request(agentUrl);
      if (response.status === 404) return { state: 'gone' };
      if (!response.ok) throw unexpected(response.status);
      const { state, job, stopped } = v.parse(agentSchema, await response.json());
      if (state === 'busy') return { state, job: job ?? 'unknown' };
      // An agent that is stopped gets no job, and ends by itself.
      return !stopped && (await agent.isAlive()) ? { state } : { state: 'gone' };
    },
  };
}

function unexpected(status: number): RetryableError {
  return new RetryableError('provider-unavailable', `the simulated CI provider answered ${status}`);
}
