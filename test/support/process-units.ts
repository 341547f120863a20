import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentUnits } from '../../infra/runner/src/agents/units.ts';
import { identify, type ProcessIdentity } from '../../infra/runner/src/processes.ts';

type Unit = {
  child: ChildProcess;
  main: ProcessIdentity | undefined;
  ended: { code: number | null } | undefined;
};

/** Agents as child processes of a test. They outlive every driver of the test. */
export function processUnits(state: string): { port: AgentUnits; killAll(): Promise<void> } {
  const units = new Map<string, Unit>();
  mkdirSync(join(state, 'agents'), { recursive: true });

  /** Every process whose session is the one of the unit's main process. */
  async function pidsOf({ child }: Unit): Promise<number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const sessions = await Promise.all(
      pids.map(async (pid) => {
        const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
        const [state, , , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
        return state !== 'Z' && Number(session) === child.pid ? [pid] : [];
      }),
    );
    return sessions.flat();
  }

  const port: AgentUnits = {
    async ensureUser() {},
    async giveDirectory(path) {
      await mkdir(path, { recursive: true });
    },
    asUser: () => [],
    async start({ name, argv, directory, env, secrets, logFile }) {
      if (units.has(name)) throw new Error(`the unit ${name} exists`);
      const log = openSync(logFile, 'a');
      const [program, ...args] = argv;
      const child = spawn(program, args, {
        cwd: directory,
        env: { ...process.env, ...env, ...secrets },
        stdio: ['ignore', log, log],
        detached: true,
      });
      const unit: Unit = { child, main: undefined, ended: undefined };
      child.once('exit', (code) => {
        unit.main = undefined;
        unit.ended = { code };
      });
      await once(child, 'spawn');
      unit.main = await identify(child.pid ?? 0);
      units.set(name, unit);
    },
    async state(name) {
      const unit = units.get(name);
      return unit && { main: unit.main, ended: unit.ended, pids: await pidsOf(unit) };
    },
    list: async () => [...units.keys()],
    async signal(name, signal) {
      units.get(name)?.child.kill(signal);
    },
    cgroup: async () => undefined,
    async remove(name) {
      units.delete(name);
    },
  };

  /** Returns when no process is left: one that is killed still writes for a moment. */
  async function killOne(unit: Unit): Promise<void> {
    for (let pids = await pidsOf(unit); pids.length > 0; pids = await pidsOf(unit)) {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended meanwhile.
        }
      }
      await sleep(10);
    }
  }

  return {
    port,
    async killAll() {
      for (const unit of units.values()) await killOne(unit);
    },
  };
}
