import { existsSync, readFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNetworkError, nameProcess, persist, run, signal } from './process.mts';

/**
 * Behaves as `circleci-runner machine --config FILE` (machine runner 3) is documented, with the stand-in of this repository as its
 * service. The real program cannot be read or run here: exit codes, the time to exit when idle and what happens to a claim in flight
 * are assumptions.
 */
const version = readFileSync(join(import.meta.dirname, 'cci.version'), 'utf8').trim();

/** A task that is ended gets TERM, and KILL after this time. Documented as "a short time". */
const KILL_AFTER_MS = 10_000;
const SEND_WITHIN_SECONDS = 600;

/** Keys of the configuration, and the environment variable that wins over each. */
const KEYS: Record<string, string> = {
  'api.auth_token': 'CIRCLECI_RUNNER_API_AUTH_TOKEN',
  'api.url': 'CIRCLECI_RUNNER_API_URL',
  'runner.name': 'CIRCLECI_RUNNER_NAME',
  'runner.working_directory': 'CIRCLECI_RUNNER_WORK_DIR',
  'runner.cleanup_working_directory': 'CIRCLECI_RUNNER_CLEANUP_WORK_DIR',
  'runner.command_prefix': 'CIRCLECI_RUNNER_COMMAND_PREFIX',
  'runner.mode': 'CIRCLECI_RUNNER_MODE',
  'runner.idle_timeout': 'CIRCLECI_RUNNER_IDLE_TIMEOUT',
  'runner.max_run_time': 'CIRCLECI_RUNNER_MAX_RUN_TIME',
};
/** Keys without an effect here. */
const IGNORED = /^(logging\.|runner\.cache_task_agent$|runner\.task_agent_directory$)/;

const DEFAULT_CONFIG = '/etc/circleci-runner/circleci-runner-config.yaml';

type Value = string | string[];
type Task = {
  id: string;
  token: string;
  name: string;
  command: string;
  env: Record<string, string>;
  heartbeatSeconds: number;
};

/** A mistake in the settings: its message is all that is printed. */
class BadSettings extends Error {}

function settingsOf(args: readonly string[]) {
  const at = args.findIndex((argument) => argument === '--config' || argument === '-c');
  const file = at >= 0 ? args[at + 1] : existsSync(DEFAULT_CONFIG) ? DEFAULT_CONFIG : undefined;
  if (at >= 0 && file === undefined) throw new BadSettings('flag needs an argument: --config');
  const found = file === undefined ? new Map<string, Value>() : parse(readFileSync(file, 'utf8'), file);
  for (const [key, variable] of Object.entries(KEYS)) {
    const value = process.env[variable];
    if (value !== undefined) found.set(key, value);
  }
  const text = (key: string, otherwise?: string): string => {
    const value = found.get(key) ?? otherwise;
    if (typeof value !== 'string' || value === '')
      throw new BadSettings(`${key} is missing (or ${KEYS[key]})`);
    return value;
  };
  const mode = text('runner.mode', 'continuous');
  if (mode !== 'continuous' && mode !== 'single-task')
    throw new BadSettings(`runner.mode: ${mode} is neither continuous nor single-task`);
  const name = text('runner.name', hostname());
  if (!/^[A-Za-z0-9.()_ -]+$/.test(name))
    throw new BadSettings(`runner.name: ${name} has other characters than letters, digits and . () - _`);
  const prefix = found.get('runner.command_prefix') ?? [];
  return {
    token: text('api.auth_token'),
    url: text('api.url', 'https://runner.circleci.com'),
    name,
    mode,
    directory: text('runner.working_directory', join(tmpdir(), 'circleci-runner', '%s')),
    cleanUp: found.get('runner.cleanup_working_directory') === 'true',
    prefix: typeof prefix === 'string' ? listOf(prefix) : prefix,
    idleMs: found.has('runner.idle_timeout')
      ? duration('runner.idle_timeout', text('runner.idle_timeout'))
      : Number.POSITIVE_INFINITY,
    maxRunMs: duration('runner.max_run_time', text('runner.max_run_time', '5h')),
  };
}

/** A list as JSON, or one word per item. */
function listOf(text: string): string[] {
  return text.trim().startsWith('[') ? (JSON.parse(text) as string[]) : text.split(/\s+/).filter(Boolean);
}

/** `1h30m`, in milliseconds. */
function duration(key: string, text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  if (!/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(text))
    throw new BadSettings(`${key}: ${text} is no duration such as 5h or 90s`);
  return [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0),
    0,
  );
}

/** The part of YAML that these configurations use: sections with scalars and lists, and JSON. */
function parse(yaml: string, file: string): Map<string, Value> {
  const found = new Map<string, Value>();
  if (yaml.trimStart().startsWith('{')) {
    const sections = JSON.parse(yaml) as Record<string, Record<string, unknown>>;
    for (const [section, values] of Object.entries(sections)) {
      for (const [key, value] of Object.entries(values)) {
        checkKey(`${section}.${key}`, file);
        found.set(`${section}.${key}`, Array.isArray(value) ? value.map(String) : String(value));
      }
    }
    return found;
  }
  let section = '';
  let list: string[] | undefined;
  for (const [index, raw] of yaml.split('\n').entries()) {
    const line = raw.replace(/(^|\s)#.*$/, '').trimEnd();
    if (line === '' || line === '---') continue;
    const [, item] = /^\s+- (.+)$/.exec(line) ?? [];
    const [, indent = '', key, value = ''] = /^(\s*)([a-z_]+):\s*(.*)$/.exec(line) ?? [];
    if (item !== undefined && list) {
      list.push(scalar(item));
    } else if (key !== undefined && indent === '') {
      section = key;
    } else if (key !== undefined && section !== '') {
      const name = `${section}.${key}`;
      checkKey(name, `${file}: line ${index + 1}`);
      list = value === '' ? [] : undefined;
      found.set(
        name,
        list ??
          (value.startsWith('[') ? (JSON.parse(value.replaceAll("'", '"')) as string[]) : scalar(value)),
      );
    } else {
      throw new BadSettings(`${file}: line ${index + 1} cannot be read: ${line}`);
    }
  }
  return found;
}

function checkKey(name: string, place: string): void {
  if (!(name in KEYS) && !IGNORED.test(name)) throw new BadSettings(`${place}: unknown key ${name}`);
}

function scalar(text: string): string {
  return text.trim().replace(/^(["'])(.*)\1$/, '$2');
}

function log(text: string): void {
  console.log(`${new Date().toISOString()} ${text}`);
}

async function machine(settings: ReturnType<typeof settingsOf>): Promise<number> {
  let terms = 0;
  let endTask: (() => void) | undefined;
  const draining = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      terms += 1;
      if (terms === 1) {
        log('shutting down: no further task is claimed');
        setTimeout(() => endTask?.(), settings.maxRunMs).unref();
        draining.abort();
      } else {
        log('shutting down now: the task is ended');
        endTask?.();
      }
    });
  }
  let idleSince = performance.now();
  log(`circleci-runner ${version}: waiting for tasks`);
  for (;;) {
    if (draining.signal.aborted) return 0;
    if (performance.now() - idleSince >= settings.idleMs) {
      log('idle timeout');
      return 0;
    }
    const task = await claim();
    if (typeof task === 'number') return task;
    if (!task) continue;
    await perform(task);
    idleSince = performance.now();
    if (settings.mode === 'single-task') return 0;
  }

  /** A task, undefined for none yet, or the exit code. */
  async function claim(): Promise<Task | number | undefined> {
    const left = Math.min(settings.idleMs - (performance.now() - idleSince), 60_000);
    try {
      const response = await fetch(new URL('/_agent/claim', settings.url), {
        method: 'POST',
        headers: { authorization: `Bearer ${settings.token}` },
        body: JSON.stringify({ name: settings.name, hostname: hostname(), version }),
        signal: AbortSignal.any([draining.signal, AbortSignal.timeout(Math.ceil(Math.max(1, left)))]),
      });
      if (response.status === 200) return (await response.json()) as Task;
      await response.arrayBuffer();
      if (response.status === 401 || response.status === 403) {
        console.error(`the resource class token is refused: ${response.status}`);
        return 1;
      }
      if (response.status === 204) return undefined;
    } catch (error) {
      if (!isNetworkError(error)) throw error;
      if (draining.signal.aborted) return 0;
    }
    await sleep(200, undefined, { signal: draining.signal }).catch(() => {});
    return undefined;
  }

  async function perform(task: Task): Promise<void> {
    log(`task ${task.id}: started`);
    const call = (path: string, body: string) =>
      fetch(new URL(`/_agent/tasks/${task.id}/${path}`, settings.url), {
        method: 'POST',
        headers: { authorization: `Bearer ${task.token}` },
        body,
        signal: AbortSignal.timeout(10_000),
      });
    let waiting = '';
    let sending: Promise<unknown> = Promise.resolve();
    const flush = () => {
      const text = waiting;
      waiting = '';
      if (text !== '') sending = sending.then(() => persist(() => call('log', text), SEND_WITHIN_SECONDS));
    };
    // The first heartbeat reports the start.
    await persist(() => call('heartbeat', '{}'), SEND_WITHIN_SECONDS);
    const { CIRCLECI_RUNNER_API_AUTH_TOKEN: _, ...env } = process.env;
    const { child, exit } = run(
      [...settings.prefix, process.execPath, '--no-warnings', join(import.meta.dirname, 'cci-task.mts')],
      {
        env,
        input: JSON.stringify({
          command: task.command,
          env: task.env,
          directory: settings.directory.replaceAll('%s', task.id),
          cleanUp: settings.cleanUp,
        }),
      },
      (text) => {
        waiting += text;
      },
    );
    let cancelled = false;
    let kill: NodeJS.Timeout | undefined;
    endTask = () => {
      signal(child.pid, 'SIGTERM');
      kill ??= setTimeout(() => signal(child.pid, 'SIGKILL'), KILL_AFTER_MS);
    };
    const overtime = setTimeout(() => endTask?.(), Math.min(settings.maxRunMs, 2 ** 31 - 1));
    const flusher = setInterval(flush, 500);
    const heartbeats = setInterval(async () => {
      try {
        const response = await call('heartbeat', '{}');
        const answer =
          response.status === 404 ? { cancel: true } : ((await response.json()) as { cancel?: boolean });
        if (!answer.cancel || cancelled) return;
        cancelled = true;
        endTask?.();
      } catch (error) {
        if (!isNetworkError(error)) throw error;
      }
    }, task.heartbeatSeconds * 1000);
    const { code } = await exit;
    endTask = undefined;
    for (const timer of [kill, overtime]) clearTimeout(timer);
    for (const timer of [flusher, heartbeats]) clearInterval(timer);
    flush();
    await sending;
    const result = cancelled ? 'cancelled' : code === 0 ? 'succeeded' : 'failed';
    await persist(
      () => call('finish', JSON.stringify({ result, exitStatus: code ?? 137 })),
      SEND_WITHIN_SECONDS,
    );
    log(`task ${task.id}: ${result}`);
  }
}

nameProcess('circleci-runner');
const [command, ...args] = process.argv.slice(2);
if (command === '--version' || command === 'version') {
  console.log(`circleci-runner version ${version}`);
} else if (command === 'machine') {
  try {
    process.exit(await machine(settingsOf(args)));
  } catch (error) {
    const isMissingFile = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!(error instanceof BadSettings) && !isMissingFile) throw error;
    console.error(`Error: ${(error as Error).message}`);
    process.exit(1);
  }
} else {
  console.error(`Error: this runner has only the command machine, not ${command ?? 'none'}`);
  process.exit(1);
}
