import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AGENT_TOO_OLD } from '../../../../shared/fleet/report.ts';
import { execute, pipe } from '../child-process.ts';
import type { RunningProcess } from '../processes.ts';
import type {
  AgentActivity,
  AgentEnd,
  AgentKind,
  Attempt,
  EndedAgent,
  Launch,
  RunningAgent,
  StopControl,
} from './agent-kind.ts';
import type { AgentLogs } from './agent-log.ts';
import type { PlacedUnits } from './placed-units.ts';
import type { AgentProgram, InstalledProgram } from './program-files.ts';
import type { AgentSettings } from './settings.ts';
import { userDirectory } from './user-directory.ts';

/** Path of the program below its directory. */
export const GHA_EXECUTABLE = 'bin/Runner.Listener';

/** Exit codes of the listener (actions/runner, src/Runner.Common/Constants.cs). */
const EXIT = {
  done: 0,
  terminated: 1,
  retryable: 2,
  update: 3,
  updateOfOneJob: 4,
  sessionConflict: 5,
  tooOld: 7,
} as const;

/** Wait before another start after exit code 2, in milliseconds (actions/runner, run-helper.sh). */
const RETRY_MS = 5_000;

/** Longest wait for the end of an update, in milliseconds (actions/runner, run-helper.sh). */
const UPDATE_MS = 30_000;

/**
 * Idle time after which the provider cannot have assigned a job any more, in milliseconds: a job that is not picked up within 60 s
 * is queued again.
 */
const QUIET_MS = 70_000;

/** Time between the removal of an agent's registration and the signal that ends it if it does not end by itself, in milliseconds. */
const LEAVE_MS = 15_000;

/** Before a Spot interruption: the last moment for a release, and for the end of a job; in milliseconds. */
const SPOT_RELEASE_MS = 60_000;
const SPOT_END_MS = 25_000;

/** Time between two reads of the trace of an idle agent, and the limit of one; in milliseconds. */
const TRACE_MS = 60_000;
const TRACE_LIMIT_MS = 3_000;

/** Age of the program at which a warning is logged: the provider refuses versions that are 30 days behind the newest, monthly one. */
const OLD_DAYS = 45;

/**
 * Registration and credentials that a listener writes: a used one makes an agent that GitHub does not have. `.env` and `.path` are settings of
 * the image, such as its job hooks.
 */
const LISTENER_FILES = /^\.(runner|credentials|service)/;

/**
 * The agent of GitHub Actions. Each agent runs one job, in a copy of the program that belongs to the user of jobs: the listener
 * writes beside its program, and can replace it. Files of the copy are hard links to those of root, which the user cannot change,
 * and it is made anew for each agent. The work folder stays.
 */
export function ghaAgent(options: {
  settings: AgentSettings;
  program: AgentProgram;
  units: PlacedUnits;
  logs: AgentLogs;
  env: Readonly<Record<string, string>>;
  /** Each job has a root of its own: what its agent writes beside the program is gone with it. */
  oneJob: boolean;
  now(): number;
  log(line: string): void;
}): AgentKind {
  const { settings, program: programs, units, logs, env, oneJob, now, log } = options;
  const { user } = settings;
  const home = join(settings.workDirectory, 'gha');
  const root = join(home, 'runner');
  const work = join(home, 'work');

  const launch = (unit: string, secrets: Record<string, string>): Launch => ({
    argv: [join(root, GHA_EXECUTABLE), 'run'],
    user,
    directory: root,
    env: { ...env, ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE: '1' },
    secrets,
    logFile: logs.file(unit),
    linger: {
      codes: [EXIT.update, EXIT.updateOfOneJob],
      file: join(root, 'update.finished'),
      seconds: UPDATE_MS / 1000,
    },
  });

  /** Root makes and gives away every folder in a place that no job can write, and then puts it where the agent starts. */
  async function freshRoot({ directory }: InstalledProgram): Promise<void> {
    for (const name of await readdir(home)) {
      if (name === 'work') continue;
      // Not `fs.rm`: it follows a path that a process of the user can exchange meanwhile.
      await execute('rm', ['-rf', '--one-file-system', '--', join(home, name)]);
    }
    const staging = join(home, `.${randomBytes(6).toString('hex')}`);
    await mkdir(staging, { mode: 0o755 });
    await execute('cp', ['-a', '--link', '--', `${directory}/.`, staging]).catch(async () => {
      // Another file system has no links to these files.
      await execute('cp', ['-a', '--reflink=auto', '--', `${directory}/.`, staging]);
    });
    for (const name of await readdir(staging))
      if (LISTENER_FILES.test(name)) await rm(join(staging, name), { recursive: true });
    await rm(join(staging, '_work'), { recursive: true, force: true });
    await symlink(work, join(staging, '_work'));
    await units.giveDirectory(staging, user);
    await rename(staging, root);
  }

  /** The rest of the program, with the two folders that the update has replaced. They are read with the rights of the user. */
  async function keepUpdate(version: string, folder: string, place: string): Promise<void> {
    const base = await programs.ensure(undefined, AbortSignal.timeout(UPDATE_MS));
    await execute('cp', ['-R', '--preserve=mode,timestamps', '--', `${base.directory}/.`, folder]);
    const names = ['bin', 'externals'].map((name) => `${name}.${version}`);
    const inside = await units.inPlace(place, undefined, user);
    const read = [...inside, 'tar', '-C', root, '--ignore-failed-read', '-c', '--', ...names];
    const write = ['tar', '-C', folder, '-x', '--no-same-owner'];
    await pipe(read, write);
    for (const name of (await readdir(folder)).filter((each) => names.includes(each))) {
      const target = join(folder, name.slice(0, name.indexOf('.')));
      await rm(target, { recursive: true, force: true });
      await rename(join(folder, name), target);
    }
  }

  /** An agent whose assignment was lost waits for ever. Its trace shows it; the trace is read with the rights of the user. */
  async function isForgotten(unit: string, agentPlace: string): Promise<boolean> {
    if (now() - lastTrace.at < TRACE_MS && lastTrace.unit === unit) return false;
    lastTrace = { unit, at: now() };
    const script = 'cat _diag/Runner_*.log 2>/dev/null | grep -q "Skipping message Job"';
    const inside = await units.inPlace(agentPlace, unit, user);
    const [program = '', ...args] = [...inside, 'sh', '-c', `cd '${root}' && ${script}`];
    return execute(program, args, { signal: AbortSignal.timeout(TRACE_LIMIT_MS) }).then(
      () => true,
      () => false,
    );
  }
  let copied: string | undefined;
  let lastTrace = { unit: '', at: 0 };

  return {
    provider: 'gha',

    async prepare({ executable, version }) {
      await mkdir(home, { recursive: true, mode: 0o755 });
      await userDirectory(units, work, user);
      await logs.tidy();
      const days = (now() - (await stat(executable)).mtimeMs) / 86_400_000;
      if (days > OLD_DAYS)
        log(
          `warning: the agent (version ${version}) is ${Math.floor(days)} days old; GitHub refuses versions that are 30 days behind its newest one`,
        );
    },

    async start({ unit, program, register, launch: start }: Attempt) {
      const registration = await register();
      if (registration.provider !== 'gha')
        throw new Error(`a registration of ${registration.provider} is not for gha`);
      await logs.tidy();
      // In a root of its own no job can change the copy.
      if (!oneJob || program.directory !== copied) await freshRoot(program);
      copied = program.directory;
      await start(launch(unit, { ACTIONS_RUNNER_INPUT_JITCONFIG: registration.jitConfig }));
    },

    async relaunch(unit, place) {
      const version = await updatedVersion(root, await units.inPlace(place, undefined, user));
      if (version !== undefined)
        await programs.adopt(version, (folder) => keepUpdate(version, folder, place));
      // The registration is in the files that the listener has written.
      return { launch: launch(unit, {}), ...(version !== undefined && { version }) };
    },

    async observe({ unit, place, children, idleMs }: RunningAgent): Promise<AgentActivity> {
      const text = await logs.tail(unit);
      const worker = children.find(isWorker);
      if (worker) return { state: 'busy', job: jobOf(text) ?? 'unknown', process: worker };
      if (!/^.*Listening for Jobs/m.test(text)) return { state: 'starting' };
      return idleMs > TRACE_MS && (await isForgotten(unit, place))
        ? { state: 'idle', endBy: 'SIGINT' }
        : { state: 'idle' };
    },

    async ended({ unit, code, sawJob }: EndedAgent): Promise<AgentEnd> {
      const text = await logs.tail(unit);
      const ranJob = sawJob || jobOf(text) !== undefined;
      // A job can end its listener with every code. Neither a program that it has changed nor its registration is used again.
      if (ranJob) return { ranJob, isUsedUp: code === EXIT.done };
      switch (code) {
        case EXIT.done:
          return { ranJob };
        case EXIT.retryable:
          return { ranJob, again: RETRY_MS };
        case EXIT.update:
        case EXIT.updateOfOneJob:
          return { ranJob, update: true, again: 0 };
        case EXIT.tooOld:
          return { ranJob, problem: `${AGENT_TOO_OLD}GitHub Actions refuses its version` };
        default:
          return { ranJob, isFault: code === EXIT.terminated };
      }
    },

    async stop({ children, isIdle, idleMs }: RunningAgent, control: StopControl) {
      const { leftMs, removedMs, isReleaseOver, signalOnce, release } = control;
      // The provider then reports a cancelled job at once, and not a lost one after ten minutes.
      if (leftMs < SPOT_END_MS) return signalOnce('SIGINT');
      if (!isIdle || children.some(isWorker)) return;
      if (removedMs !== undefined) return removedMs > LEAVE_MS ? signalOnce('SIGINT') : undefined;
      if (isReleaseOver || leftMs < SPOT_RELEASE_MS)
        return idleMs >= QUIET_MS ? signalOnce('SIGINT') : undefined;
      release();
    },

    async cleanUp() {},
  };
}

const isWorker = ({ argv }: RunningProcess) =>
  argv.some((word) => /(^|\/)Runner\.Worker(\.dll)?$/.test(word));

/** `2026-11-25 10:00:00Z: Running job: build` */
function jobOf(text: string): string | undefined {
  return [...text.matchAll(/Running job: (.+)$/gm)].at(-1)?.[1]?.trim();
}

/**
 * The version after an update, from the name of the folder that `bin` leads to: `bin.2.337.0`. The listener's script replaces the
 * folders after the listener has ended, and then writes `update.finished`.
 */
async function updatedVersion(root: string, inside: readonly string[]): Promise<string | undefined> {
  const wait = `i=0; until [ -e update.finished ] || [ $i -ge ${UPDATE_MS / 200} ]; do sleep 0.2; i=$((i + 1)); done`;
  const script = `cd '${root}' && ${wait}; readlink ${dirname(GHA_EXECUTABLE)}`;
  const [program = '', ...args] = [...inside, 'sh', '-c', script];
  const limit = AbortSignal.timeout(2 * UPDATE_MS);
  const target = await execute(program, args, { signal: limit }).catch(() => '');
  return /(?:^|\/)bin\.(\d+\.\d+\.\d+)$/.exec(target.trim())?.[1];
}
