/**
 * What aw-runner needs of a CI host: start its agent, stop it taking jobs, and know whether a job runs. Everything else
 * about a host stays behind this.
 */

/** What the agent is doing, as the host itself says. */
export type AgentStatus =
  | { state: 'busy'; job: string }
  | { state: 'idle'; since: Date }
  /** The agent has ended, or the host has forgotten it; it runs no job. */
  | { state: 'gone' };

/** The agent of one host on this machine. */
export interface AgentDriver {
  /** Starts the agent, or finds the one that an earlier aw-runner has started. Returns when it can take jobs. */
  start(): Promise<void>;
  /**
   * From now on the agent gets no new job; the running one goes on. May be called again at any time.
   *
   * Call this *before* `status` when the machine is to go: asked first, the host may hand out a job between the answer and
   * the end of the machine.
   */
  stopIntake(): Promise<void>;
  /** @throws if the host cannot be asked; the caller then knows nothing, and must not take it for idle */
  status(): Promise<AgentStatus>;
}
