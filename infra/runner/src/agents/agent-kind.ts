import type { CiProvider } from '../../../../shared/fleet/names.ts';
import type { Registration } from '../../../../shared/fleet/registration.ts';
import type { ProcessIdentity, RunningProcess } from '../processes.ts';
import type { PlacedUnit } from './placed-units.ts';
import type { InstalledProgram } from './program-files.ts';

/** What `AgentChain` needs to know about the agent of one CI provider. */
export interface AgentKind {
  readonly provider: CiProvider;
  /** Makes directories; the program is installed. @throws if no agent can ever start */
  prepare(program: InstalledProgram): Promise<void>;
  /** Gets a registration and starts the agent with it, in the order that the provider needs. */
  start(attempt: Attempt): Promise<void>;
  /** Prepares another start with the registration that the agent has. `version`: the program is another one now. */
  relaunch(unit: string, place: string): Promise<{ launch: Launch; version?: string }>;
  /** What a running agent does. `process`: the process of the job. @throws if it is unknown */
  observe(agent: RunningAgent): Promise<AgentActivity>;
  /** What the end of an agent means. */
  ended(agent: EndedAgent): Promise<AgentEnd>;
  /** In a drain, again and again: makes the agent end without a job. */
  stop(agent: RunningAgent, control: StopControl): Promise<void>;
  /** Removes what the start of a unit has left. */
  cleanUp(unit: string): Promise<void>;
}

/** One start of an agent. */
export type Attempt = {
  unit: string;
  program: InstalledProgram;
  /** Whether the intake was stopped after the attempt began. */
  isStopped(): boolean;
  /** @param own the agent's own description, where the provider needs it. @throws without a registration */
  register(own?: Record<string, unknown>): Promise<Registration>;
  launch(launch: Launch): Promise<void>;
  /** Whether the unit has no main process. */
  hasEnded(): Promise<boolean>;
};

/** The unit to start, and the loopback port of the agent's own status, if it has one. */
export type Launch = Omit<PlacedUnit, 'name' | 'place'> & { port?: number };

export type RunningAgent = {
  unit: string;
  place: string;
  main: ProcessIdentity | undefined;
  /** Child processes of its main process. */
  children: readonly RunningProcess[];
  /** Name of its registration. */
  name: string | undefined;
  /** Its last job. */
  job: string | undefined;
  port: number | undefined;
  isIdle: boolean;
  /** For how long it has been idle without a break, in milliseconds. */
  idleMs: number;
};

export type AgentActivity =
  | { state: 'starting' }
  /** `endBy`: it waits for jobs that the provider will never assign, and this signal ends it. */
  | { state: 'idle'; endBy?: NodeJS.Signals }
  | { state: 'busy'; job: string; process?: ProcessIdentity };

export type EndedAgent = {
  unit: string;
  version: string;
  /** Null if a signal ended it. */
  code: number | null;
  /** It was seen with a job. */
  sawJob: boolean;
};

export type AgentEnd = {
  ranJob: boolean;
  /** The provider has removed the registration. */
  isUsedUp?: boolean;
  /** Wait before another start with the same registration, in milliseconds. */
  again?: number;
  /** It ended in order to be updated. */
  update?: boolean;
  /** The program or the registration can be broken. */
  isFault?: boolean;
  /** Why no further job should run on this instance. */
  problem?: string;
};

export type StopControl = {
  /** Milliseconds until EC2 takes the instance away; infinite elsewhere. */
  leftMs: number;
  /** Milliseconds since the provider has removed the registration. */
  removedMs: number | undefined;
  /** The registration of an idle agent cannot be removed: the provider does not do that, or has not done it for long. */
  isReleaseOver: boolean;
  /** Sends a signal once in the life of the agent's process. */
  signalOnce(signal: NodeJS.Signals): Promise<void>;
  /** Requests the release of the registration in the background. */
  release(): void;
};
