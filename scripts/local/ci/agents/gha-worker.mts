import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasInEnvironment, nameProcess, persist, processes, run, signal, treeOf } from './process.mts';

/** Behaves as `bin/Runner.Worker` of GitHub's runner: runs the steps of one job, which its listener sends it. */

type Job = {
  id: string;
  runId: number;
  name: string;
  repository: string;
  steps: { name: string; run: string }[];
  env: Record<string, string>;
  token: string;
  root: string;
  server: string;
  agent: string;
  workFolder: string;
};

/** A step gets SIGINT, SIGTERM after this time, and SIGKILL after the second one. */
const INTERRUPT_MS = 7_500;
const TERMINATE_MS = 2_500;

const FLUSH_EVERY_MS = 500;
const SEND_WITHIN_SECONDS = 120;

/** Exit code of each result. */
const CODES = { succeeded: 100, failed: 102, cancelled: 103 } as const;

nameProcess('Runner.Worker');
// Only the listener ends a job; a signal to its process group reaches both.
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => {});

process.once('message', (job: Job) => {
  runJob(job).then(
    (result) => process.exit(CODES[result]),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function runJob(job: Job): Promise<keyof typeof CODES> {
  const before = new Set(processes());
  const cancelled = new AbortController();
  let isShutdown = false;
  process.on('message', (message) => {
    if (message === 'shutdown') isShutdown = true;
    cancelled.abort();
  });
  // Without the listener the job cannot be cancelled, and its lock is not renewed.
  process.on('disconnect', () => process.exit(1));

  const log = logOf(job);
  const trackingId = `github_${randomUUID()}`;
  const folders = foldersOf(job);
  const env: NodeJS.ProcessEnv = { ...process.env, ...environmentOf(job, folders, trackingId), ...job.env };
  let result: keyof typeof CODES = 'succeeded';
  let exitStatus = 0;

  /** Runs a step unless the job has failed or was cancelled. */
  async function step(name: string, command: string[], always = false): Promise<void> {
    if (!always && result !== 'succeeded') return;
    log.write(`##[group]${name}\n`);
    const code = await runStep(command, env, folders, always ? undefined : cancelled.signal, log.write);
    log.write('##[endgroup]\n');
    if (cancelled.signal.aborted && !always) result = 'cancelled';
    else if (code !== 0) {
      log.write(`##[error]Process completed with exit code ${code}.\n`);
      if (result === 'succeeded') exitStatus = code;
      if (result === 'succeeded') result = 'failed';
    }
  }

  log.write(
    `Current runner version: '${process.env.RUNNER_VERSION ?? versionOf()}'\nRunner name: '${job.agent}'\n`,
  );
  const started = hook('ACTIONS_RUNNER_HOOK_JOB_STARTED');
  if (started) await step('Set up runner', started);
  for (const { name, run: script } of job.steps) {
    const file = join(folders.temp, `${randomUUID()}.sh`);
    writeFileSync(file, script);
    await step(name, ['bash', '-e', file]);
  }
  const completed = hook('ACTIONS_RUNNER_HOOK_JOB_COMPLETED');
  // It always runs, except when the runner itself is stopped.
  if (completed && !isShutdown) await step('Complete runner', completed, true);
  cleanUp(before, trackingId, log.write);
  await log.end();
  await persist(
    () =>
      fetch(new URL(`/_listener/jobs/${job.id}/complete`, job.server), {
        method: 'POST',
        headers: { authorization: `Bearer ${job.token}` },
        body: JSON.stringify({ result, exitStatus }),
        signal: AbortSignal.timeout(10_000),
      }),
    SEND_WITHIN_SECONDS,
  );
  return result;

  /** The command of a hook. One that is not a file fails the job. */
  function hook(name: string): string[] | undefined {
    const path = process.env[name];
    if (!path) return undefined;
    if (isAbsolute(path) && existsSync(path)) return ['bash', '-e', path];
    return ['sh', '-c', `echo "${name} is no absolute path of a file"; exit 1`];
  }
}

type Folders = ReturnType<typeof foldersOf>;

function foldersOf(job: Job) {
  const work = resolve(job.root, job.workFolder);
  const [, repository = ''] = job.repository.split('/');
  const folders = {
    work,
    pipeline: join(work, repository),
    workspace: join(work, repository, repository),
    temp: join(work, '_temp'),
    tools: join(work, '_tool'),
    commands: join(work, '_temp', '_runner_file_commands'),
  };
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folders.temp, 'event.json'),
    JSON.stringify({ repository: { full_name: job.repository } }),
  );
  return folders;
}

function environmentOf(job: Job, folders: Folders, trackingId: string): Record<string, string> {
  const [owner = ''] = job.repository.split('/');
  return {
    CI: 'true',
    GITHUB_ACTIONS: 'true',
    GITHUB_EVENT_NAME: 'push',
    GITHUB_EVENT_PATH: join(folders.temp, 'event.json'),
    GITHUB_JOB: job.name,
    GITHUB_REF: 'refs/heads/main',
    GITHUB_REPOSITORY: job.repository,
    GITHUB_REPOSITORY_OWNER: owner,
    GITHUB_RUN_ATTEMPT: '1',
    GITHUB_RUN_ID: String(job.runId),
    GITHUB_SERVER_URL: job.server,
    GITHUB_WORKFLOW: 'ci',
    GITHUB_WORKSPACE: folders.workspace,
    RUNNER_ARCH: process.arch === 'arm64' ? 'ARM64' : 'X64',
    RUNNER_ENVIRONMENT: 'self-hosted',
    RUNNER_NAME: job.agent,
    RUNNER_OS: process.platform === 'darwin' ? 'macOS' : 'Linux',
    RUNNER_TEMP: folders.temp,
    RUNNER_TOOL_CACHE: folders.tools,
    RUNNER_TRACKING_ID: trackingId,
    RUNNER_WORKSPACE: folders.pipeline,
  };
}

function versionOf(): string {
  return readFileSync(join(import.meta.dirname, 'gha.version'), 'utf8').trim();
}

/** Runs one step and applies what it wrote to the files GITHUB_ENV and GITHUB_PATH. Returns its exit code. */
async function runStep(
  command: string[],
  env: NodeJS.ProcessEnv,
  folders: Folders,
  cancelled: AbortSignal | undefined,
  output: (text: string) => void,
): Promise<number> {
  const files = Object.fromEntries(
    ['ENV', 'PATH', 'OUTPUT', 'STEP_SUMMARY', 'STATE'].map((name) => {
      const file = join(folders.commands, `${name.toLowerCase()}_${randomUUID()}`);
      writeFileSync(file, '');
      return [`GITHUB_${name}`, file];
    }),
  );
  if (cancelled?.aborted) return 1;
  const { child, exit } = run(command, { cwd: folders.workspace, env: { ...env, ...files } }, output);
  const onCancel = () => void interrupt(child.pid, exit);
  cancelled?.addEventListener('abort', onCancel, { once: true });
  const { code, signal: by } = await exit;
  cancelled?.removeEventListener('abort', onCancel);
  try {
    Object.assign(env, variablesOf(readFileSync(files.GITHUB_ENV ?? '', 'utf8')));
  } catch (error) {
    output(`##[error]${(error as Error).message}\n`);
    return 1;
  }
  for (const line of readFileSync(files.GITHUB_PATH ?? '', 'utf8')
    .split('\n')
    .filter(Boolean)) {
    env.PATH = `${line}:${env.PATH}`;
  }
  return by ? 137 : (code ?? 1);
}

/** Ends a step: the signals go to its process alone, and only the last one to everything below it. */
async function interrupt(pid: number | undefined, exit: Promise<unknown>): Promise<void> {
  if (pid === undefined) return;
  let ended = false;
  void exit.then(() => {
    ended = true;
  });
  const tree = treeOf(pid);
  for (const [name, wait] of [
    ['SIGINT', INTERRUPT_MS],
    ['SIGTERM', TERMINATE_MS],
  ] as const) {
    signal(pid, name);
    await Promise.race([exit, sleep(wait)]);
    if (ended) break;
  }
  for (const one of ended ? tree : treeOf(pid)) signal(one, 'SIGKILL');
}

/** `NAME=value` lines and `NAME<<END` blocks. @throws on a line of another form and on a name that is not allowed. */
function variablesOf(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  const lines = text.split('\n');
  while (lines.length > 0) {
    const line = lines.shift() ?? '';
    if (line === '') continue;
    const [, block, delimiter] = /^([^=<]+)<<(.+)$/.exec(line) ?? [];
    const equals = line.indexOf('=');
    const name = block ?? line.slice(0, Math.max(0, equals));
    if (name === '') throw new Error(`Invalid format '${line}'`);
    if (name === 'NODE_OPTIONS') {
      throw new Error(`Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.`);
    }
    if (block === undefined) {
      variables[name] = line.slice(equals + 1);
      continue;
    }
    const end = lines.indexOf(delimiter ?? '');
    if (end < 0) throw new Error(`Invalid value. Matching delimiter not found '${delimiter}'`);
    variables[name] = lines.splice(0, end).join('\n');
    lines.shift();
  }
  return variables;
}

/** Ends the processes that the job left, which are those with its tracking id that were not there before it. */
function cleanUp(before: ReadonlySet<number>, trackingId: string, output: (text: string) => void): void {
  output('Cleaning up orphan processes\n');
  for (const pid of processes()) {
    if (before.has(pid) || pid === process.pid || !hasInEnvironment(pid, `RUNNER_TRACKING_ID=${trackingId}`))
      continue;
    output(`Terminate orphan process: pid (${pid})\n`);
    signal(pid, 'SIGKILL');
  }
}

/** The log of the job: sent in pieces, in order, each once. */
function logOf(job: Job) {
  let waiting = '';
  let sending: Promise<void> = Promise.resolve();
  const flush = () => {
    const text = waiting;
    waiting = '';
    if (text === '') return;
    sending = sending.then(async () => {
      await persist(
        () =>
          fetch(new URL(`/_listener/jobs/${job.id}/log`, job.server), {
            method: 'POST',
            headers: { authorization: `Bearer ${job.token}` },
            body: text,
            signal: AbortSignal.timeout(10_000),
          }),
        SEND_WITHIN_SECONDS,
      );
    });
  };
  const timer = setInterval(flush, FLUSH_EVERY_MS);
  return {
    write(text: string) {
      waiting += text;
    },
    async end() {
      clearInterval(timer);
      flush();
      await sending;
    },
  };
}
