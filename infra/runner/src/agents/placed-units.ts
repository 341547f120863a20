import { errorText } from '../../../../shared/runtime/errors.ts';
import { emptyCgroup } from '../isolation/job-cgroup.ts';
import type { JobPlaces } from '../isolation/job-places.ts';
import type { Linger } from '../isolation/job-root.ts';
import { childrenOf, type ProcessIdentity, signalProcess } from '../processes.ts';
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

/** Programs beside the agent below the first process of the namespaces: the one that holds Docker's socket, and the daemon. */
const BESIDE = /(?:^|\/)(?:systemd-socket-activate|dockerd|containerd)$/;

/**
 * Units whose agent runs in the place of a job: a root, a tree and namespaces of its own. The main process of such a unit is the
 * command that creates the namespaces. This adapter shows the agent in its place, and sends signals to the agent.
 *
 * @param units of the service manager
 * @param log gets what jobs have changed in the kernel, and what was restored
 */
export function isolatedUnits(
  units: AgentUnits,
  places: JobPlaces,
  log: (line: string) => void,
): PlacedUnits {
  /** The watches of disks that are too small for all that a job may write, by unit. */
  const watches = new Map<string, AbortController>();

  async function watch(name: string): Promise<void> {
    const cgroup = watches.has(name) ? undefined : await units.cgroup(name);
    if (cgroup === undefined) return;
    const end = new AbortController();
    watches.set(name, end);
    places.watchDisk(cgroup, end.signal).then(
      (isKilled) => isKilled && log(`the job of ${name} was killed: disk full`),
      (error: unknown) => end.signal.aborted || log(`watch of the disk: ${errorText(error)}`),
    );
  }

  async function state(name: string): Promise<UnitState | undefined> {
    const found = await units.state(name);
    // Also after a restart of aw-runner.
    if (found?.main && places.isTight()) await watch(name);
    if (found?.main) return { ...found, main: (await agentOf(found.main, found.pids)) ?? found.main };
    if (found?.ended?.code == null || found.ended.code < FIRST_SIGNAL_CODE) return found;
    return { ...found, ended: { code: null } };
  }

  return {
    ...units,
    state,
    prepare: (place) => places.open(place),

    async inPlace(place, name, user) {
      const { main } = (name === undefined ? undefined : await state(name)) ?? {};
      if (!main) return places.command(place, user, []);
      return ['nsenter', `--target=${main.pid}`, '--mount', '--pid', '--', ...units.asUser(user)];
    },

    async start({ place, linger, ...unit }) {
      const [program = '', ...args] = await places.command(place, unit.user, unit.argv, linger);
      await units.start({ ...unit, argv: [program, ...args], user: 'root' });
    },

    async signal(name, signal) {
      const { main } = (await state(name)) ?? {};
      if (main) await signalProcess(main, signal);
    },

    async remove(name) {
      const cgroup = await units.cgroup(name);
      if (cgroup !== undefined) await emptyCgroup(cgroup);
      await units.remove(name);
      watches.get(name)?.abort();
      watches.delete(name);
    },

    async discard(place) {
      for (const line of await places.close(place)) log(`after the job of ${place}: ${line}`);
    },
  };
}

/** The agent, below the command and the first process of the namespaces. Undefined until it has started. */
async function agentOf(main: ProcessIdentity, pids: readonly number[]): Promise<ProcessIdentity | undefined> {
  const [first] = await childrenOf(main.pid, pids);
  const below = first ? await childrenOf(first.pid, pids) : [];
  const agent = below.find(({ argv }) => !BESIDE.test(argv[0] ?? ''));
  return agent && { pid: agent.pid, startTime: agent.startTime };
}
