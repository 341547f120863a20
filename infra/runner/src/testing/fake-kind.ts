import type { AgentKind } from '../agents/agent-kind.ts';
import type { AgentProgram } from '../agents/program-files.ts';
import type { fakeUnits } from './fake-units.ts';

type Units = ReturnType<typeof fakeUnits>;

/** A kind of agent in memory that runs one job, as `gha` does: it is idle without a child process, and busy with one. */
export function fakeKind(units: Units, change: Partial<AgentKind> = {}): AgentKind {
  const worked = new Set<string>();
  return {
    provider: 'gha',
    async prepare() {},
    async start({ unit, program, register, launch }) {
      const { name } = await register();
      await launch({
        argv: [program.executable, name],
        user: 'runner',
        directory: '/',
        env: {},
        secrets: {},
        logFile: `/log/${unit}`,
      });
    },
    async relaunch(unit) {
      return {
        launch: {
          argv: ['/again'],
          user: 'runner',
          directory: '/',
          env: {},
          secrets: {},
          logFile: `/log/${unit}`,
        },
      };
    },
    async observe({ unit, children }) {
      const [job] = children;
      if (!job) return { state: 'idle' };
      worked.add(unit);
      return { state: 'busy', job: job.argv[0] ?? 'job', process: job };
    },
    async ended({ unit, code, sawJob }) {
      const ranJob =
        sawJob || worked.has(unit) || units.started.some(({ spec, worked: w }) => spec.name === unit && w);
      if (code === 2) return { ranJob, again: 0 };
      return {
        ranJob,
        isUsedUp: code === 0,
        isFault: code === 1,
        ...(code === 7 && { problem: 'agent too old' }),
      };
    },
    async stop({ isIdle, idleMs, children }, control) {
      if (!isIdle || children.length > 0) return;
      if (control.removedMs !== undefined)
        return control.removedMs > 15_000 ? control.signalOnce('SIGINT') : undefined;
      if (control.isReleaseOver) return idleMs >= 70_000 ? control.signalOnce('SIGINT') : undefined;
      control.release();
    },
    async cleanUp() {},
    ...change,
  };
}

export const fakeProgram: AgentProgram = {
  configured: 'image',
  ensure: async () => ({ directory: '/agent', executable: '/agent/run', version: '1' }),
  adopt: async () => {},
};
