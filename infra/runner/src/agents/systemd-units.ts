import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execute } from '../child-process.ts';
import { identify } from '../processes.ts';
import type { AgentUnit, AgentUnitsFactory, UnitState } from './units.ts';

/** All agents and their jobs; the limits of the instance for jobs belong there. */
const SLICE = 'hearth-jobs.slice';
const PREFIX = 'hearth-agent-';

/** A tmpfs that is empty after a boot, like the units themselves. */
const RUNTIME = '/run/aw-runner';
const CGROUPS = '/sys/fs/cgroup';

/** Longest time of one call of a program, in milliseconds. */
const CALL_MS = 4_000;

/** Longest time until the program of a unit runs, in seconds. */
const START_SECONDS = 20;

/** Bytes that a pipe holds without a reader (pipe(7)). */
const PIPE_BYTES = 65_536;

/**
 * Reads variables up to an empty line from standard input, and becomes the agent. Without the empty line aw-runner has ended
 * half-way, and no agent starts.
 */
const LAUNCHER = [
  `while IFS= read -r line; do`,
  `case $line in '') exec "$@" </dev/null ;; *) export "$line" ;; esac`,
  `done; echo 'the launcher got no complete input' >&2; exit 78`,
].join('\n');

/** Properties of every unit (systemd.exec(5), systemd.service(5), systemd.resource-control(5)). */
const PROPERTIES = [
  'Type=exec',
  // Keeps the exit code until `remove`.
  'RemainAfterExit=yes',
  `TimeoutStartSec=${START_SECONDS}`,
  // aw-runner stops agents with the signals that they expect; what a job leaves behind can be a Bazel server.
  'KillMode=process',
  'SendSIGKILL=no',
  // A job that takes all memory must not end its agent.
  'OOMPolicy=continue',
  'OOMScoreAdjust=100',
  // A job can make cgroups below that of its unit.
  'Delegate=yes',
  'TasksMax=infinity',
  'LimitNOFILE=1048576',
  'UMask=0022',
  'PrivateTmp=no',
];

/**
 * The kernel keeps the keyring of a user for as long as the instance runs, so a job could leave keys for later ones. For units of
 * another user a filter would imply NoNewPrivileges, which ends sudo: only commands that make the place of a job run as root.
 */
const NO_KEYRINGS = ['SystemCallFilter=~@keyring', 'SystemCallErrorNumber=ENOSYS'];

/** Agents as transient units of systemd, which outlive aw-runner. */
export const systemdUnits: AgentUnitsFactory = ({ log }) => ({
  async ensureUser(user) {
    const exists = await run('getent', ['passwd', user]).then(
      () => true,
      () => false,
    );
    if (exists) return;
    log(`this image has no user ${user}: creating it`);
    await run('useradd', ['--create-home', '--user-group', '--shell', '/bin/bash', user], 30_000);
  },

  async giveDirectory(path, user) {
    await mkdir(path, { recursive: true, mode: 0o755 });
    // Children first: while a directory is changed, none of its parents can be exchanged by the user.
    const change = ['-depth', '-type', 'd', '-exec', 'chown', '-h', `${user}:`, '{}', '+'];
    await run('find', [path, ...change], 60_000);
  },

  asUser,
  async cgroup(name) {
    const cgroup = (await show(name)).get('ControlGroup') ?? '';
    return cgroup === '' ? undefined : join(await cgroupRoot(), cgroup);
  },

  async start(unit) {
    await mkdir(RUNTIME, { recursive: true, mode: 0o711 });
    const pipe = join(RUNTIME, `${unit.name}.${randomBytes(8).toString('hex')}`);
    await run('mkfifo', ['-m', '0600', pipe]);
    // Open for reading too: a pipe without a reader would block.
    const handle = await open(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      await handle.write(launcherInput(unit));
      await (await open(unit.logFile, 'a', 0o600)).close();
      await run('systemd-run', runArguments(unit, pipe), (START_SECONDS + 5) * 1000).catch(
        async (error: unknown) => {
          // A program that ends at once is a failed start for systemd-run; its exit code is what counts.
          if (isDuplicate(error) || !(await this.state(unit.name))?.ended) throw error;
        },
      );
    } finally {
      await handle.close();
      await rm(pipe, { force: true });
    }
  },

  async state(name) {
    return unitState(await show(name));
  },

  async list() {
    const text = await run('systemctl', [
      ...['list-units', '--all', '--plain', '--no-legend', '--no-pager', '--full'],
      ...['--type=service', `${PREFIX}*`],
    ]);
    return text
      .split('\n')
      .map((line) => line.trim().split(/\s+/)[0] ?? '')
      .filter((name) => name.startsWith(PREFIX) && name.endsWith('.service'))
      .map((name) => name.slice(PREFIX.length, -'.service'.length));
  },

  async signal(name, signal) {
    const { main } = (await this.state(name)) ?? {};
    if (main) await run('systemctl', ['kill', '--kill-whom=main', `--signal=${signal}`, service(name)]);
  },

  async remove(name) {
    await run('systemctl', ['stop', service(name)]).catch(ignoreMissing);
    await run('systemctl', ['reset-failed', service(name)]).catch(ignoreMissing);
    // The pipe of a start whose aw-runner was killed.
    const left = (await readdir(RUNTIME).catch(none)).filter((entry) => entry.startsWith(`${name}.`));
    for (const entry of left) await rm(join(RUNTIME, entry), { force: true });
  },
});

function asUser(user: string): string[] {
  return ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', '--reset-env', '--'];
}

const service = (name: string) => `${PREFIX}${name}.service`;

function runArguments({ name, argv, user, directory, env, logFile }: AgentUnit, pipe: string): string[] {
  const properties = [
    ...PROPERTIES,
    `User=${user}`,
    `WorkingDirectory=${directory}`,
    `StandardInput=file:${pipe}`,
    `StandardOutput=append:${logFile}`,
    `StandardError=append:${logFile}`,
    ...(user === 'root' ? NO_KEYRINGS : []),
  ];
  return [
    ...['--quiet', `--unit=${service(name)}`, `--slice=${SLICE}`, `--description=CI agent ${name}`],
    '--no-ask-password',
    ...properties.map((property) => `--property=${property}`),
    ...Object.entries(env).map(([key, value]) => `--setenv=${key}=${value}`),
    // systemd replaces `${...}` in every word by a variable of its own; `$$` is a `$` (systemd.service(5)).
    ...['--', '/bin/sh', '-c', LAUNCHER, 'hearth-agent', ...argv].map((word) => word.replaceAll('$', '$$$$')),
  ];
}

/** @throws if a secret cannot be passed in one line, or all of them not in one pipe */
export function launcherInput({ name, secrets }: Pick<AgentUnit, 'name' | 'secrets'>): string {
  const lines = Object.entries(secrets).map(([key, value]) => {
    if (/[\n\0]/.test(value) || !/^[A-Za-z_]\w*$/.test(key))
      throw new Error(`the variable ${key} of ${name} is not one line`);
    return `${key}=${value}\n`;
  });
  const text = `${lines.join('')}\n`;
  if (Buffer.byteLength(text) > PIPE_BYTES)
    throw new Error(`the secrets of ${name} have more than ${PIPE_BYTES} bytes`);
  return text;
}

async function show(name: string): Promise<Map<string, string>> {
  const properties = [
    'LoadState',
    'ActiveState',
    'MainPID',
    'ExecMainCode',
    'ExecMainStatus',
    'ControlGroup',
  ];
  const text = await run('systemctl', ['show', `--property=${properties.join(',')}`, service(name)]);
  return new Map(
    text.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** CLD_EXITED (waitid(2)): `ExecMainStatus` is an exit code, and a signal otherwise. */
const EXITED = '1';

async function unitState(values: Map<string, string>): Promise<UnitState | undefined> {
  if (values.get('LoadState') === 'not-found') return undefined;
  const pid = Number(values.get('MainPID'));
  const code = values.get('ExecMainCode') ?? '0';
  const active = values.get('ActiveState');
  const hasEnded = pid === 0 && active !== 'activating';
  const isExit = code === EXITED;
  return {
    main: pid === 0 ? undefined : await identify(pid),
    ended: hasEnded ? { code: isExit ? Number(values.get('ExecMainStatus')) : null } : undefined,
    pids: await pidsOf(values.get('ControlGroup') ?? ''),
  };
}

/** Every process of a cgroup and of those below it; none if it is gone. */
async function pidsOf(cgroup: string): Promise<number[]> {
  if (cgroup === '') return [];
  const folder = join(await cgroupRoot(), cgroup);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(none);
  const folders = [
    folder,
    ...entries.filter((each) => each.isDirectory()).map((each) => join(each.parentPath, each.name)),
  ];
  const texts = await Promise.all(
    folders.map((each) => readFile(join(each, 'cgroup.procs'), 'utf8').catch(() => '')),
  );
  return texts.flatMap((text) => text.split('\n').filter(Boolean).map(Number));
}

/** On systems with both hierarchies systemd has its own. */
async function cgroupRoot(): Promise<string> {
  const isUnified = await readFile(join(CGROUPS, 'cgroup.controllers')).then(
    () => true,
    () => false,
  );
  return isUnified ? CGROUPS : join(CGROUPS, 'unified');
}

function none(error: NodeJS.ErrnoException): [] {
  if (error.code !== 'ENOENT') throw error;
  return [];
}

function isDuplicate(error: unknown): boolean {
  return error instanceof Error && /already loaded/.test(error.message);
}

/** `systemctl` ends with 5 for a unit that does not exist, `reset-failed` with 1. */
function ignoreMissing(error: unknown): void {
  if (!/not loaded/.test(error instanceof Error ? error.message : '')) throw error;
}

function run(program: string, args: readonly string[], limitMs = CALL_MS): Promise<string> {
  return execute(program, args, { signal: AbortSignal.timeout(limitMs) });
}
