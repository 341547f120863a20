import type { AgentKind } from '../../../infra/runner/src/agents/agent-kind.ts';
import { bkAgent } from '../../../infra/runner/src/agents/bk.ts';
import { cciAgent } from '../../../infra/runner/src/agents/cci.ts';
import { ghaAgent } from '../../../infra/runner/src/agents/gha.ts';
import type { PlacedUnits } from '../../../infra/runner/src/agents/placed-units.ts';
import type { AgentProgram } from '../../../infra/runner/src/agents/program-files.ts';
import type { CiProvider } from '../../../shared/fleet/names.ts';

/**
 * The agents of the three providers in a simulation: how they are stopped and what their end means is the code of the product. How they are
 * started and observed is the model's, since that code starts and reads processes.
 */

const program: AgentProgram = {
  configured: 'image',
  ensure: async (updatedTo) => ({
    directory: '/agent',
    executable: '/agent/run',
    version: updatedTo ?? 'image',
  }),
  adopt: async () => {},
};

/** The kind of a provider. `workedIn` tells whether the agent of a unit began a job. */
export function simulatedKind(
  provider: CiProvider,
  options: {
    units: PlacedUnits;
    now(): number;
    workedIn(unit: string): boolean;
    activity(unit: string): 'starting' | 'idle' | 'busy';
    /** Version that a start in this moment leads to. */
    newestVersion(): string;
  },
): AgentKind {
  const logs = {
    file: (unit: string) => `/${unit}.log`,
    tidy: async () => {},
    tail: async (unit: string) => (options.workedIn(unit) ? 'Starting job\nRunning job: job\n' : ''),
  };
  const settings = {
    driver: provider,
    directory: '/agent',
    user: 'runner',
    workDirectory: '/work',
    queue: 'q',
  };
  const common = { settings, units: options.units, logs, env: {}, oneJob: true, log: () => {} };
  const { now } = options;
  const real: Record<CiProvider, () => AgentKind> = {
    gha: () => ghaAgent({ ...common, program, now }),
    bk: () => bkAgent(common),
    cci: () => cciAgent({ ...common, runtimeDirectory: '/run' }),
  };
  const { ended, stop } = real[provider]();
  const launch = (version: string, name: string, unit: string) => ({
    argv: ['/agent/run', version, name] as const,
    ...{ user: 'runner', directory: '/', env: {}, secrets: {}, logFile: logs.file(unit) },
  });
  return {
    provider,
    ended,
    stop,
    async prepare() {},
    async start({ unit, program: installed, register, launch: start }) {
      const { name } = await register(provider === 'bk' ? { tags: ['queue=q'] } : undefined);
      await start(launch(installed.version, name, unit));
    },
    async relaunch(unit) {
      const version = options.newestVersion();
      return { launch: launch(version, '', unit), version };
    },
    async observe({ unit, children }) {
      const state = options.activity(unit);
      const [process] = children;
      return state === 'busy' && process
        ? { state, job: 'job', process }
        : { state: state === 'busy' ? 'idle' : state };
    },
    async cleanUp() {},
  };
}

export { program as simulatedProgram };
