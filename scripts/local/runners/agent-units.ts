import { spawn } from 'node:child_process';
import {
  access,
  constants,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentUnit, AgentUnitsFactory, UnitState } from '../../../infra/runner/src/agents/units.ts';
import {
  identify,
  isSameProcess,
  type ProcessIdentity,
  signalProcess,
} from '../../../infra/runner/src/processes.ts';
import { cgroupOf, makeCgroup, processesIn } from '../cleanup/cgroups.ts';
import { startedFor } from '../cleanup/clean.ts';
import { RUN_VARIABLE } from '../cleanup/system.ts';

/**
 * Waits for the agent and writes its exit code, so that aw-runner can end and start meanwhile. `$1` is the folder of the unit, `$2` its
 * cgroup or nothing. The secrets come first, one per line, up to an empty line: without it aw-runner has ended half-way.
 */
const LAUNCHER = `
unit=$1 cgroup=$2 complete=; shift 2
while IFS= read -r line; do
  [ -n "$line" ] || { complete=yes; break; }
  export "$line"
done
[ -n "$complete" ] || exit 78
export ${RUN_VARIABLE}="$unit/"
(
  [ -z "$cgroup" ] || exec sh -c 'echo $$ >"$0" && exec "$@" </dev/null' "$cgroup/cgroup.procs" "$@"
  exec "$@" </dev/null
) &
echo $! >"$unit/started"
wait $!
echo $? >"$unit/exit.new" && mv "$unit/exit.new" "$unit/exit"
`;

/** Longest time until the program of a unit runs, in milliseconds: much longer than on a busy computer. */
const START_MS = 60_000;
const POLL_MS = 10;

/** Variables of the instance that an agent gets, besides those of its unit. Not the access key of the instance. */
const INHERITED = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'AW_WARM_DIR', 'RUNNER_ALLOW_RUNASROOT'];

/**
 * Agents without systemd, which a laptop may not have: each in a session of its own, with root in a cgroup of its own, as the user
 * that runs the local cloud. They outlive aw-runner and end with the instance: they have its folder in their environment.
 */
export const localUnits: AgentUnitsFactory = ({ stateDirectory }) => {
  const units = join(stateDirectory, 'units');
  const folderOf = (name: string) => join(units, name);

  async function start(unit: AgentUnit): Promise<void> {
    const folder = folderOf(unit.name);
    await access(unit.argv[0], constants.X_OK);
    await mkdir(units, { recursive: true });
    await mkdir(folder).catch((cause: unknown) => {
      throw new Error(`the unit ${unit.name} exists`, { cause });
    });
    const cgroup = await cgroupOf(folder);
    if (cgroup !== undefined) await makeCgroup(cgroup);
    const log = await open(unit.logFile, 'a', 0o600);
    try {
      const child = spawn('/bin/sh', ['-c', LAUNCHER, 'launcher', folder, cgroup ?? '', ...unit.argv], {
        cwd: unit.directory,
        env: { ...inherited(), ...unit.env },
        stdio: ['pipe', log.fd, log.fd],
        detached: true,
      });
      await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
      child.stdin?.end(
        `${Object.entries(unit.secrets)
          .map(([name, value]) => `${name}=${value}\n`)
          .join('')}\n`,
      );
      if (child.pid !== undefined) await keepIdentity(folder, 'launcher', child.pid);
      child.unref();
    } finally {
      await log.close();
    }
    await untilStarted(folder, unit.name);
  }

  async function untilStarted(folder: string, name: string): Promise<void> {
    const end = performance.now() + START_MS;
    for (;;) {
      // It can have ended already.
      if ((await mainOf(folder)) ?? (await text(folder, 'exit'))) return;
      if (performance.now() > end)
        throw new Error(`the unit ${name} did not start within ${START_MS / 1000} s`);
      await sleep(POLL_MS);
    }
  }

  async function state(name: string): Promise<UnitState | undefined> {
    const folder = folderOf(name);
    if (!(await names()).includes(name)) return undefined;
    try {
      const main = await mainOf(folder);
      const isAlive = main !== undefined && (await isSameProcess(main));
      return {
        main: isAlive ? main : undefined,
        ended: isAlive ? undefined : await endOf(folder),
        pids: await pidsOf(folder),
      };
    } catch (error) {
      // The unit was removed in the meantime.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async function names(): Promise<string[]> {
    return readdir(units).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return [];
    });
  }

  return {
    async ensureUser() {},
    asUser: () => [],
    async giveDirectory(path) {
      await mkdir(path, { recursive: true });
    },
    start,
    state,
    list: names,
    async signal(name, signal) {
      const main = (await state(name))?.main;
      if (main) await signalProcess(main, signal);
    },
    cgroup: (name) => cgroupOf(folderOf(name)),
    async remove(name) {
      const folder = folderOf(name);
      const cgroup = await cgroupOf(folder);
      await rm(folder, { recursive: true, force: true });
      // With a process it stays until the end of the instance.
      if (cgroup !== undefined) await rmdir(cgroup).catch(() => undefined);
    },
  };
};

/**
 * Kills the agents of an instance, as a crash or the kernel does. What they have started lives on.
 *
 * @returns how many ran
 */
export async function killAgents(stateDirectory: string): Promise<number> {
  const units = localUnits({ stateDirectory, log: () => {} });
  let killed = 0;
  for (const name of await units.list()) {
    const main = (await units.state(name))?.main;
    if (main && (await signalProcess(main, 'SIGKILL'))) killed += 1;
  }
  return killed;
}

/** The main process, also after its end. */
async function mainOf(folder: string): Promise<ProcessIdentity | undefined> {
  const known = await identityIn(folder, 'main');
  if (known) return known;
  const pid = Number(await text(folder, 'started'));
  return pid > 0 ? keepIdentity(folder, 'main', pid) : undefined;
}

/** Keeps the start time of a process as soon as its pid is known: the kernel reuses pids. */
async function keepIdentity(folder: string, name: string, pid: number): Promise<ProcessIdentity | undefined> {
  const identity = await identify(pid);
  if (!identity) return undefined;
  await writeFile(join(folder, `${name}.new`), JSON.stringify(identity));
  await rename(join(folder, `${name}.new`), join(folder, name));
  return identity;
}

async function identityIn(folder: string, name: string): Promise<ProcessIdentity | undefined> {
  const content = await text(folder, name);
  return content === undefined ? undefined : JSON.parse(content);
}

/** How a main process that does not run has ended; undefined as long as its launcher can still start it or write the exit code. */
async function endOf(folder: string): Promise<UnitState['ended']> {
  const launcher = await identityIn(folder, 'launcher');
  const isOver = launcher
    ? !(await isSameProcess(launcher))
    : Date.now() - (await stat(folder)).mtimeMs > START_MS;
  const exit = await text(folder, 'exit');
  if (exit === undefined) return isOver ? { code: null } : undefined;
  // A shell shows a signal as an exit code above 128, and no agent has such an exit code.
  const code = Number(exit);
  return { code: code > 128 ? null : code };
}

/** Every process of a unit: by its cgroup, else by the folder of the unit in its environment. */
async function pidsOf(folder: string): Promise<number[]> {
  const cgroup = await cgroupOf(folder);
  if (cgroup !== undefined) return processesIn(cgroup);
  return (await startedFor(folder)).map(({ pid }) => pid);
}

function inherited(): Record<string, string> {
  const present = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(present);
}

async function text(folder: string, name: string): Promise<string | undefined> {
  return readFile(join(folder, name), 'utf8').then(
    (content) => content.trim(),
    () => undefined,
  );
}
