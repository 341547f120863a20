import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { emptyCgroup } from '../isolation/job-cgroup.ts';
import type { JobPlaces } from '../isolation/job-places.ts';
import type { Linger } from '../isolation/job-root.ts';
import { childrenOf, type ProcessIdentity, pidInNamespace, signalProcess } from '../processes.ts';
import type { AgentUnit, AgentUnits, UnitState } from './units.ts';

/** A unit in a place. Two starts of an agent with one registration have the same place. */
export type PlacedUnit = AgentUnit & {
  place: string;
  /** For a program that replaces itself after its end. */
  linger?: Linger;
};

/** Units with the places of their jobs: what the chain of agents uses. */
export interface PlacedUnits extends Omit<AgentUnits, 'start'> {
  /**
   * Makes what an agent and its job need, before a registration is requested.
   *
   * @throws if it cannot be made: no request may follow
   */
  prepare(place: string): Promise<void>;
  start(unit: PlacedUnit): Promise<void>;
  /**
   * The words before a command that run it with the rights of a user and with the files of the agent.
   *
   * @param name of a unit that runs; undefined if none does any more
   */
  inPlace(place: string, name: string | undefined, user: string): Promise<readonly string[]>;
  /**
   * Removes everything that the agent and its job have left. The units of the place are removed.
   *
   * @throws if something stays: no further job may run
   */
  discard(place: string): Promise<void>;
}

/** Units whose jobs share the root of the instance: nothing is made for a job, and nothing of it is removed. */
export function sharedUnits(units: AgentUnits): PlacedUnits {
  return {
    ...units,
    async prepare() {},
    start: ({ place: _, linger: __, ...unit }) => units.start(unit),
    inPlace: async (_place, _name, user) => units.asUser(user),
    async discard() {},
  };
}

/** A program that a signal has ended, as the exit code of a shell: 128 and the number of the signal. */
const FIRST_SIGNAL_CODE = 129;

/** Longest time from the start of the command to the start of the agent in its place, and the time between two checks, in milliseconds. */
const START_MS = 20_000;
const POLL_MS = 10;

/**
 * Longest time from the end of an agent to the end of its unit, in milliseconds: longer than every `linger`. A process of the job
 * that traces its agent can withhold that end from the first process of the namespaces.
 */
const LEAVE_MS = 60_000;

/**
 * Units whose agent runs in the place of a job: a root, a tree and namespaces of its own. The main process of such a unit is the
 * command that creates the namespaces. This adapter shows the agent in its place, and sends signals to the agent.
 *
 * @param units of the service manager
 * @param log gets what jobs have changed in the kernel, and what was restored
 * @param findAgent replaces the processes of this system
 */
export function isolatedUnits(
  units: AgentUnits,
  places: JobPlaces,
  log: (line: string) => void,
  findAgent: AgentFinder = agentAmong,
): PlacedUnits {
  /** The watches of disks that are too small for all that a job may write, by unit. */
  const watches = new Map<string, AbortController>();

  /** Units whose agent has ended before them, with the time at which this was observed. */
  const leaving = new Map<string, number>();

  async function watch(name: string): Promise<void> {
    const cgroup = watches.has(name) ? undefined : await units.cgroup(name);
    if (cgroup === undefined) return;
    const end = new AbortController();
    watches.set(name, end);
    places.watchDisk(cgroup, end.signal).then(
      (isKilled) => isKilled && log(`the job of ${name} was killed: disk full`),
      (error: unknown) => {
        if (end.signal.aborted) return;
        log(`watch of the disk: ${errorText(error)}`);
        // The next observation of the unit starts another one.
        watches.delete(name);
      },
    );
  }

  async function state(name: string): Promise<UnitState | undefined> {
    const found = await units.state(name);
    if (found?.main) {
      // Also after a restart of aw-runner.
      if (await places.isTight()) await watch(name);
      const programPid = await places.programPid();
      const agent = await findAgent(found.main, found.pids, programPid);
      if (!agent && programPid !== undefined) await endLate(name);
      // Until the agent runs, the unit has processes that build its root. None is a job.
      return agent ? { ...found, main: agent } : { ...found, pids: [found.main.pid] };
    }
    if (found?.ended?.code == null || found.ended.code < FIRST_SIGNAL_CODE) return found;
    return { ...found, ended: { code: null } };
  }

  async function endLate(name: string): Promise<void> {
    const since = leaving.get(name) ?? performance.now();
    leaving.set(name, since);
    if (performance.now() - since < LEAVE_MS) return;
    const cgroup = await units.cgroup(name);
    if (cgroup === undefined) return;
    log(`the unit ${name} goes on ${LEAVE_MS / 1000} s after the end of its agent: it is killed`);
    await emptyCgroup(cgroup);
  }

  /** The agent of a unit; undefined if the unit has ended, or its agent has not started. */
  async function agentOf(name: string): Promise<{ isRunning: boolean; agent?: ProcessIdentity }> {
    const { main, pids = [] } = (await units.state(name)) ?? {};
    if (!main) return { isRunning: false };
    const agent = await findAgent(main, pids, await places.programPid());
    return { isRunning: true, ...(agent && { agent }) };
  }

  return {
    ...units,
    state,

    async prepare(place) {
      for (const line of await places.open(place)) log(`before ${place}: ${line}`);
    },

    async inPlace(place, name, user) {
      const { agent } = name === undefined ? {} : await agentOf(name);
      if (!agent) return places.command(place, user, []);
      return ['nsenter', `--target=${agent.pid}`, '--mount', '--pid', '--', ...units.asUser(user)];
    },

    /** Fulfilled when the agent runs, and not its command alone: a signal would be lost in between. */
    async start({ place, linger, ...unit }) {
      const [program = '', ...args] = await places.command(place, unit.user, unit.argv, linger);
      await units.start({ ...unit, argv: [program, ...args], user: 'root' });
      const end = performance.now() + START_MS;
      for (;;) {
        const { isRunning, agent } = await agentOf(unit.name);
        if (!isRunning || agent) return;
        if (performance.now() > end)
          return log(`the agent of ${unit.name} did not start within ${START_MS / 1000} s`);
        await sleep(POLL_MS);
      }
    },

    async signal(name, signal) {
      const { isRunning, agent } = await agentOf(name);
      if (agent) await signalProcess(agent, signal);
      else if (isRunning) throw new Error(`the agent of ${name} does not run yet, or any more: no ${signal}`);
    },

    async remove(name) {
      const cgroup = await units.cgroup(name);
      if (cgroup !== undefined) await emptyCgroup(cgroup);
      await units.remove(name);
      watches.get(name)?.abort();
      watches.delete(name);
      leaving.delete(name);
    },

    async discard(place) {
      for (const line of await places.close(place)) log(`after the job of ${place}: ${line}`);
    },
  };
}

/** How the agent of a unit is found. */
type AgentFinder = (
  main: ProcessIdentity,
  pids: readonly number[],
  programPid: number | undefined,
) => Promise<ProcessIdentity | undefined>;

/**
 * The agent is a child of the first process of the namespaces, which is the child of the unit's main process. Processes that a job
 * has left become children of that first process too, so the number decides which one is the agent.
 */
const agentAmong: AgentFinder = async (main, pids, programPid) => {
  const [first] = programPid === undefined ? [] : await childrenOf(main.pid, pids);
  for (const { pid, startTime } of first ? await childrenOf(first.pid, pids) : [])
    if ((await pidInNamespace(pid)) === programPid) return { pid, startTime };
  return undefined;
};
