/**
 * The port to the service manager of the instance. An agent runs as one unit: a process tree of its own user in a cgroup of its
 * own, which no restart of aw-runner ends. `systemd-units.ts` is the adapter of the product.
 */

import type { ProcessIdentity } from '../processes.ts';

/** One agent to start. */
export type AgentUnit = {
  /** Lower case, digits and dashes. A unit is never started twice under one name while it exists. */
  name: string;
  /** Absolute path of the program, and its arguments; readable by every user of the instance. */
  argv: readonly [string, ...string[]];
  /** The user of the process, and of the jobs that it runs. */
  user: string;
  /** Working directory. */
  directory: string;
  /** Readable by every user of the instance: nothing secret. */
  env: Readonly<Record<string, string>>;
  /** Environment variables with secrets, one line each. They reach the process through a pipe and lie in no file and no unit. */
  secrets: Readonly<Record<string, string>>;
  /** Gets standard output and error, appended; readable by root only. */
  logFile: string;
};

/** A unit that exists. */
export type UnitState = {
  /** The main process; undefined before it has started and after it has ended. */
  main: ProcessIdentity | undefined;
  /** How the main process ended. `code` is null if a signal ended it. */
  ended: { code: number | null } | undefined;
  /** Every process of the unit, its main process included: the cgroup is populated while there is one. */
  pids: readonly number[];
};

export interface AgentUnits {
  /** Makes a user exist, with a home directory. Does nothing if it exists. */
  ensureUser(user: string): Promise<void>;
  /**
   * Makes a directory if it is missing, and gives it and every directory below it to a user. Files stay as they are. The caller has
   * just created them all: no one else can have changed a part of the path.
   */
  giveDirectory(path: string, user: string): Promise<void>;
  /** The words before a command that run it with the rights of a user, without a login. */
  asUser(user: string): readonly string[];
  /**
   * Starts a unit. Fulfilled when its program runs.
   *
   * @throws if the program cannot be started, or a unit of this name exists
   */
  start(unit: AgentUnit): Promise<void>;
  /** Undefined: there is no such unit. A unit that has ended exists until `remove`. */
  state(name: string): Promise<UnitState | undefined>;
  /** The names of all agent units that exist, also those of an earlier aw-runner. */
  list(): Promise<string[]>;
  /** Sends a signal to the main process only. Does nothing if it has ended. */
  signal(name: string, signal: NodeJS.Signals): Promise<void>;
  /** Removes a unit whose main process has ended. Processes that it has left behind go on. */
  remove(name: string): Promise<void>;
  /** Directory of the cgroup of a unit that exists, version 2; undefined if it has none, or none any more. */
  cgroup(name: string): Promise<string | undefined>;
}

/** Creates the units of a program. */
export type AgentUnitsFactory = (context: {
  /** Directory of the runner's state; root only. */
  stateDirectory: string;
  log(line: string): void;
}) => AgentUnits;
