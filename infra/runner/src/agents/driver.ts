/**
 * The interface between aw-runner and the agent of a CI provider: start the agent, stop its intake of jobs, and report whether
 * a job runs. The driver hides everything else about the provider.
 */

/** State of the agent, as its CI provider reports it. */
export type AgentStatus =
  | { state: 'busy'; job: string }
  | { state: 'idle'; since: Date }
  /** The agent's process has ended, or the provider does not list the agent; it runs no job. */
  | { state: 'gone' };

/**
 * The agent of one CI provider on this instance. Every call ends within a bounded time: a driver gives each request a timeout.
 * aw-runner additionally limits `stopIntake` and `status` to 5 s and `start` to 60 s (in a boot: to the boot deadline), and
 * handles a call that exceeds its limit like one that throws.
 */
export interface AgentDriver {
  /** Starts the agent, or finds the one that an earlier aw-runner has started. Returns when the agent can take jobs. */
  start(): Promise<void>;
  /**
   * Stops the assignment of new jobs to the agent; a running job continues. May be called again at any time.
   *
   * Call this *before* `status` in a drain: in the other order the provider can assign a job between the answer and the
   * termination of the instance.
   */
  stopIntake(): Promise<void>;
  /** @throws if the provider does not answer. The caller must then treat the agent as busy. */
  status(): Promise<AgentStatus>;
}

/** What a driver is created with. */
export type AgentContext = {
  instanceId: string;
  /** Directory of the runner's state. */
  stateDirectory: string;
};

/**
 * Creates the driver from the `agent` part of the configuration.
 *
 * @throws {BadConfig} if the settings are invalid
 */
export type AgentFactory = (
  settings: Readonly<Record<string, unknown>>,
  context: AgentContext,
) => AgentDriver;

/** The drivers of a program, by the value of `agent.driver` in the configuration. */
export type AgentFactories = Readonly<Record<string, AgentFactory>>;

/** Longest time of one call of `stopIntake` or `status`, in milliseconds. */
export const CALL_LIMIT_MS = 5_000;

/** Longest time of a start outside a boot, in milliseconds. */
export const START_LIMIT_MS = 60_000;
