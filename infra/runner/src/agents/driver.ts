/**
 * The interface between aw-runner and the agent of a CI provider: start agents, stop the intake of jobs, and report whether a
 * job runs. The driver hides everything else about the provider.
 */

import type { PlacedUnits } from './placed-units.ts';
import type { RegistrationClient } from './registration-client.ts';

/** State of the agent, as the processes of this instance show it. A provider's API is never asked. */
export type AgentStatus =
  /** A registration is requested, or its agent does not accept jobs yet. It can have a job at any moment: never drained. */
  | { state: 'starting' }
  | { state: 'busy'; job: string }
  | { state: 'idle' }
  /** No agent runs, no job runs, and no registration is requested. */
  | { state: 'gone' };

/** What the driver has learned besides the status. It survives a restart of aw-runner. */
export type AgentFacts = {
  /**
   * Whether the driver requests registrations. Their answers are the only way for an instance to learn that it is in service:
   * its metadata reads InService throughout the launch hook.
   */
  registers: boolean;
  /** Last time at which an answer showed that the instance is in service; milliseconds since 1970. */
  inServiceAt?: number | undefined;
  /** End of the last job; milliseconds since 1970. */
  lastJobEnd?: number | undefined;
  /** Since when the present agent accepts jobs and runs none; milliseconds since 1970. */
  listeningSince?: number | undefined;
  /** Until when the instance waits for its turn, since its installation has spent its budget of registrations; milliseconds since 1970. */
  waitsUntil?: number | undefined;
  /** Why no further job should run on this instance. */
  problem?: string | undefined;
  /** Whether the registration of an idle agent is still to be removed in a drain: until then the provider can assign a job to it. */
  isReleasing?: boolean;
};

/**
 * The agent of one CI provider on this instance. Every call ends within a bounded time: a driver gives each request a timeout.
 * aw-runner additionally limits `stopIntake` and `status` to 5 s and `start` to 60 s, and handles a call that exceeds its limit
 * like one that throws. Calls can overlap; a driver never runs two agents at once.
 */
export interface AgentDriver {
  /**
   * Makes the agent's program ready. Needs no provider and no registration. Called in each boot, before Runner Ready.
   *
   * @param signal ends the preparation
   * @throws if the program cannot be executed; the boot fails
   */
  prepare(signal: AbortSignal): Promise<void>;
  /**
   * Starts an agent unless one runs or waits for its next try. A failure of the provider is no error: the driver waits with
   * back-off, is `gone` meanwhile, and tries again in a later call.
   */
  start(): Promise<void>;
  /**
   * Stops the assignment of new jobs; a running job continues. Called again and again in a drain, and never withdrawn: no agent
   * starts after the first call in the life of this driver.
   *
   * @param endsAt time at which EC2 takes the instance away (Spot); milliseconds since 1970
   */
  stopIntake(endsAt?: number): Promise<void>;
  /** @throws if the state is unknown. The caller must then treat the agent as busy. */
  status(): Promise<AgentStatus>;
  facts(): AgentFacts;
  /** Fulfilled as soon as it is worth asking for the status again; at the latest when `signal` is aborted. */
  changed?(signal: AbortSignal): Promise<void>;
}

/** What a driver is created with. */
export type AgentContext = {
  instanceId: string;
  /** Directory of the runner's state; root only. */
  stateDirectory: string;
  /** The socket through which jobs reach aw-runner. */
  jobSocket: string;
  units: PlacedUnits;
  /** Further variables of agents and their jobs; nothing secret. */
  env?: Readonly<Record<string, string>>;
  /** Each agent runs one job: where the provider has a mode for many jobs, it is not used. */
  oneJob: boolean;
  /** Undefined: the group has no function that issues registrations, so its instances run no agent. */
  registration: RegistrationClient | undefined;
  /** Milliseconds since 1970. */
  now(): number;
  log(line: string): void;
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

/** Longest time of a start, in milliseconds. */
export const START_LIMIT_MS = 60_000;
