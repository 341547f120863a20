import type { AgentUnit, AgentUnits, UnitState } from '../agents/units.ts';
import type { ProcessIdentity, RunningProcess } from '../processes.ts';

/** A unit in memory. A test changes what its agent does. */
export type FakeUnit = {
  spec: AgentUnit;
  main: ProcessIdentity | undefined;
  ended: { code: number | null } | undefined;
  children: RunningProcess[];
  signals: NodeJS.Signals[];
  /** It has run a job. */
  worked: boolean;
};

/** Units in memory, which outlive every driver that uses them. */
export function fakeUnits() {
  const units = new Map<string, FakeUnit>();
  const started: FakeUnit[] = [];
  let pid = 1_000_000;
  /** Most agents that ever ran at once. */
  let most = 0;
  let onStart: (unit: FakeUnit) => void | Promise<void> = () => {};
  let onSignal: (unit: FakeUnit, signal: NodeJS.Signals) => void = () => {};

  const identity = (): ProcessIdentity => ({ pid: ++pid, startTime: String(pid) });
  const running = () => [...units.values()].filter(({ main }) => main);

  const port: AgentUnits = {
    async ensureUser() {},
    async giveDirectory() {},
    asUser: () => [],
    cgroup: async () => undefined,
    async start(spec) {
      if (units.has(spec.name)) throw new Error(`unit ${spec.name} exists`);
      const unit: FakeUnit = {
        spec,
        main: identity(),
        ended: undefined,
        children: [],
        signals: [],
        worked: false,
      };
      units.set(spec.name, unit);
      started.push(unit);
      most = Math.max(most, running().length);
      await onStart(unit);
    },
    async state(name): Promise<UnitState | undefined> {
      const unit = units.get(name);
      if (!unit) return undefined;
      const { main, ended, children } = unit;
      return { main, ended, pids: [main, ...children].flatMap((each) => (each ? [each.pid] : [])) };
    },
    list: async () => [...units.keys()],
    async signal(name, signal) {
      const unit = units.get(name);
      if (!unit?.main) return;
      unit.signals.push(signal);
      onSignal(unit, signal);
    },
    async remove(name) {
      if (units.get(name)?.main) throw new Error(`unit ${name} runs`);
      units.delete(name);
    },
  };

  const all = () => [...units.values()];
  return {
    port,
    /** The processes of these units, for `AgentChain`. */
    processes: {
      childrenOf: async (parent: number) => all().find(({ main }) => main?.pid === parent)?.children ?? [],
      isSameProcess: async ({ pid }: ProcessIdentity) =>
        all().some(({ main, children }) => [main, ...children].some((each) => each?.pid === pid)),
    },
    started,
    running,
    most: () => most,
    onStart: (action: typeof onStart) => (onStart = action),
    onSignal: (action: typeof onSignal) => (onSignal = action),
    /** The agent begins a job. */
    work(unit: FakeUnit, argv: string[] = ['/x/bin/Runner.Worker']) {
      unit.children = [{ ...identity(), argv }];
      unit.worked = true;
    },
    /** Its main process ends, and its job with it. */
    end(unit: FakeUnit, code: number | null = 0) {
      unit.main = undefined;
      unit.children = [];
      unit.ended = { code };
    },
    /** A reboot. */
    clear: () => units.clear(),
  };
}
