import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CI_PROVIDERS } from '../../../shared/fleet/names.ts';
import { errorText } from '../../../shared/runtime/errors.ts';
import { redactText } from '../../../shared/runtime/redact.ts';
import { JOB_USER } from './agents/settings.ts';
import { boot } from './boot.ts';
import { serveCache } from './cache/serve-cache.ts';
import { BadConfig, CONFIG_FILE, type RunnerConfig, readConfig } from './config.ts';
import { type AgentAdapters, createRunner, type Runner } from './create-runner.ts';
import { jobFinished } from './health.ts';
import { callJobSocket, JOB_SOCKET, startJobSocket } from './job-socket.ts';
import { SNAPSHOT_USAGE, snapshotCommand } from './snapshot/cli.ts';
import { serveImage } from './snapshot/lazy/serve.ts';
import { version } from './version.ts';
import { WARM_USAGE, warmCommand } from './warming/cli.ts';
import { watch } from './watch.ts';

const USAGE = `aw-runner ${version}: the daemon of a runner instance

usage: aw-runner [--config FILE] COMMAND

  boot                        from power-on to Runner Ready or Runner Failed
  watch                       runs agents, drains, and reports an idle or unhealthy instance, until it is stopped
  run                         boot, then watch
  job-finished --exit-code N  for the job hook of the CI provider: marks an instance that breaks its jobs
  serve-cache FILE            serves the build cache of the instance; aw-runner itself starts it
  serve-image DIRECTORY       serves the image of a lazy start and completes it; aw-runner itself starts it
  version

${SNAPSHOT_USAGE}

${WARM_USAGE}

FILE is ${CONFIG_FILE} by default. Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.`;

/** The command line is wrong. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Writes one line to standard error, which goes to the log file. A full disk must not end the program. */
export function log(line: string): void {
  try {
    writeSync(2, `${new Date().toISOString()} ${redactText(line)}\n`);
  } catch {
    // There is no other place to report it.
  }
}

/**
 * Runs one command.
 *
 * @param argv without program and script
 * @param adapters the agents of this program, and the service manager that runs them
 * @returns the exit code
 */
export async function runProgram(argv: readonly string[], adapters: AgentAdapters): Promise<number> {
  // Progress and messages go to the same file as `log`.
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.listenerCount('error') === 0) stream.on('error', () => {});
  }
  try {
    return await runCommand(argv, adapters);
  } catch (error) {
    if (error instanceof BadConfig) {
      console.error(error.message);
      return isPermissionError(error.cause) ? 1 : 2;
    }
    if (!isUsageError(error)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 2;
  }
}

async function runCommand(argv: readonly string[], adapters: AgentAdapters): Promise<number> {
  refuseSudo(argv);
  const { file, isHelp, name, rest } = globalOptions(argv);
  if (isHelp || name === undefined) {
    console.log(USAGE);
    return isHelp ? 0 : 2;
  }
  const config = () => readConfig(file, [...CI_PROVIDERS, ...Object.keys(adapters.agents)]);
  switch (name) {
    case 'version':
      noArguments(rest);
      console.log(version);
      return 0;
    case 'snapshot':
      return snapshotCommand(rest, await config(), version, stopSignal());
    case 'warm-bazel':
      return warmCommand(rest, await config(), stopSignal(), log);
    case 'serve-image':
      return serveImage(oneArgument(rest, 'serve-image needs one directory'), log);
    case 'serve-cache':
      return serveCache(oneArgument(rest, 'serve-cache needs one file'), stopSignal(), log);
    case 'job-finished':
      return reportJob(exitCodeOption(rest));
    case 'boot':
    case 'watch':
    case 'run':
      noArguments(rest);
      return runDaemon(name, await config(), adapters);
    default:
      throw new UsageError(`no such command: ${name}`);
  }
}

/** `--config FILE`, `--config=FILE` and `--help` are accepted before and after the command. */
function globalOptions(argv: readonly string[]) {
  const args = [...argv];
  const others: string[] = [];
  let file = CONFIG_FILE;
  let isHelp = false;
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    if (arg === '--') {
      others.push(arg, ...args);
      break;
    }
    if (arg === '--help') isHelp = true;
    else if (arg === '--config' || arg.startsWith('--config=')) {
      const value = arg === '--config' ? args.shift() : arg.slice('--config='.length);
      if (!value || value.startsWith('-')) throw new UsageError('--config needs a file');
      file = value;
    } else others.push(arg);
  }
  const [name, ...rest] = others;
  if (name?.startsWith('-')) throw new UsageError(`unknown option: ${name}`);
  return { file, isHelp, name, rest };
}

function noArguments(args: readonly string[]): void {
  parseArgs({ args: [...args], options: {} });
}

function oneArgument(args: readonly string[], problem: string): string {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
  const [argument] = positionals;
  if (argument === undefined || positionals.length > 1) throw new UsageError(problem);
  return argument;
}

function exitCodeOption(args: readonly string[]): number {
  const { values } = parseArgs({ args: [...args], options: { 'exit-code': { type: 'string' } } });
  const text = values['exit-code'] ?? '';
  if (!/^\d{1,3}$/.test(text) || Number(text) > 255)
    throw new UsageError('job-finished needs --exit-code with a number from 0 to 255');
  return Number(text);
}

/** Runs as the user of jobs: it needs neither the configuration nor any right. */
async function reportJob(exitCode: number): Promise<number> {
  const path = process.env.HEARTH_JOB_SOCKET ?? JOB_SOCKET;
  try {
    console.log(await callJobSocket(path, exitCode));
    return 0;
  } catch (error) {
    console.error(`job-finished: ${errorText(error)}`);
    return 1;
  }
}

/**
 * A rule for sudo that allows this program would allow every program: `--config` names files to trust, and `--program` a program to
 * run as root.
 *
 * @throws {UsageError}
 */
function refuseSudo(argv: readonly string[]): void {
  const { SUDO_UID } = process.env;
  if (SUDO_UID === undefined || SUDO_UID === '0') return;
  const option = argv.find((arg) => /^--(config|program)(=|$)/.test(arg));
  if (option !== undefined)
    throw new UsageError(`${option.split('=')[0]} is not accepted through sudo: sign in as root to use it`);
}

async function runDaemon(
  command: 'boot' | 'watch' | 'run',
  config: RunnerConfig,
  adapters: AgentAdapters,
): Promise<number> {
  const stop = stopSignal();
  const runner = await createRunner(config, adapters, log);
  log(`aw-runner ${version} ${command} on ${runner.instanceId}, group ${config.group}`);
  if (command !== 'watch') {
    const outcome = await boot(runner, stop);
    if (command === 'boot' || outcome === 'stopped') return outcome === 'failed' ? 1 : 0;
  }
  const socket = await openJobSocket(runner);
  // Also after a boot that failed: the terminate hook of an instance that is replaced needs an answer.
  await watch(runner, stop);
  socket?.close();
  return 0;
}

/** Time after the end of a job in which its hook may still report it, in milliseconds. */
const HOOK_MS = 60_000;

/** Without the socket jobs run all the same; the instance is then not replaced after a failure that concerns it. */
async function openJobSocket(runner: Runner): Promise<{ close(): void } | undefined> {
  const { config, agent, now } = runner;
  const { jobSocket: path, directories } = config;
  const finished = async (exitCode: number) => {
    const { state } = await agent.status();
    const isLate = now() - (agent.facts().lastJobEnd ?? 0) > HOOK_MS;
    if (state !== 'busy' && isLate) return 'ignored: no job runs';
    const reason = await jobFinished(directories.state, exitCode);
    if (reason !== undefined) log(`a job reports that the instance is unhealthy: ${reason}`);
    return reason === undefined ? 'ok' : `unhealthy: ${reason}`;
  };
  const user = typeof config.agent.user === 'string' ? config.agent.user : JOB_USER;
  return startJobSocket({ path, user, finished, log }).catch((error: unknown) => {
    log(`${path} cannot be opened: ${errorText(error)}`);
    return undefined;
  });
}

/** Aborted by the first SIGTERM or SIGINT; the second one ends the process. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  return stop.signal;
}

function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}

function isPermissionError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM');
}
