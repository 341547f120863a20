import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { isNetworkError, nameProcess, persist, run, signal } from './process.mts';

/** Behaves as `buildkite-agent start` v3.138, with one worker and without checkouts, plugins, artifacts and terminals. */
const version = readFileSync(join(import.meta.dirname, 'bk.version'), 'utf8').trim();

/** Flags with an effect here, and the environment variable of each. */
const FLAGS: Record<string, string> = {
  token: 'BUILDKITE_AGENT_TOKEN',
  endpoint: 'BUILDKITE_AGENT_ENDPOINT',
  name: 'BUILDKITE_AGENT_NAME',
  tags: 'BUILDKITE_AGENT_TAGS',
  queue: 'BUILDKITE_AGENT_QUEUE',
  priority: 'BUILDKITE_AGENT_PRIORITY',
  'build-path': 'BUILDKITE_BUILD_PATH',
  'hooks-path': 'BUILDKITE_HOOKS_PATH',
  'health-check-addr': 'BUILDKITE_AGENT_HEALTH_CHECK_ADDR',
  'disconnect-after-idle-timeout': 'BUILDKITE_AGENT_DISCONNECT_AFTER_IDLE_TIMEOUT',
  config: 'BUILDKITE_AGENT_CONFIG',
};
const SWITCHES: Record<string, string> = {
  'disconnect-after-job': 'BUILDKITE_AGENT_DISCONNECT_AFTER_JOB',
  'skip-checkout': 'BUILDKITE_SKIP_CHECKOUT',
};

/** Flags of the real agent that change nothing here: with a value, and without one. */
const IGNORED_FLAGS =
  words(`log-level experiment profile disconnect-after-uptime cancel-grace-period job-log-path shell
  hooks-shell spawn cancel-signal signal-grace-period-seconds git-checkout-flags git-clone-flags git-clean-flags git-fetch-flags
  git-clone-mirror-flags git-mirrors-path git-mirrors-lock-timeout git-checkout-timeout checkout-attempts bootstrap-script
  additional-hooks-paths sockets-path plugins-path log-format ping-mode redacted-vars tracing-backend tracing-service-name
  allowed-repositories allowed-plugins allowed-environment-variables checkout-override-mode git-mirror-checkout-mode
  job-context-dir artifact-upload-concurrency disable-warnings-for`);
const IGNORED_SWITCHES =
  words(`no-color debug no-pty no-command-eval no-local-hooks no-plugins no-git-submodules no-ssh-keyscan
  git-mirrors-skip-update no-feature-reporting no-http debug-http trace-http tags-from-host timestamp-lines no-ansi-timestamps
  enable-job-log-tmpfile write-job-logs-to-stdout strict-single-hooks no-multipart-artifact-upload spawn-with-priority
  plugins-always-clone-fresh no-plugin-validation metrics-datadog reflect-exit-status fail-on-missing-tags`);

/** A job that is cancelled gets its signal, and SIGKILL after this time. */
const SIGNAL_GRACE_MS = 9_000;
/**
 * After the second signal the agent ends within this time in any case. The real one: 11 s, which leaves 2 s after SIGKILL for the log and the
 * report; a busy computer takes longer.
 */
const HARD_EXIT_MS = 60_000;
/** Limit of the report of a stop. */
const STOP_MS = 10_000;
const SEND_WITHIN_SECONDS = 600;
/** A registration is tried 30 times, every 10 s. */
const REGISTER_WITHIN_SECONDS = 300;

type Settings = Record<string, string | undefined>;
type Registered = {
  id: string;
  name: string;
  access_token: string;
  endpoint: string;
  ping_interval: number;
  job_status_interval: number;
  heartbeat_interval: number;
};
type Accepted = { id: string; token: string; env: Record<string, string>; chunks_interval_seconds: number };

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(/\s+/).filter(Boolean));
}

function log(text: string): void {
  console.error(`${new Date().toISOString().slice(0, 19).replace('T', ' ')} INFO   ${text}`);
}

function fatal(text: string): never {
  console.error(`buildkite-agent: fatal: ${text}`);
  process.exit(1);
}

function settingsOf(args: readonly string[]): Settings {
  const settings: Settings = {};
  const rest = [...args];
  while (rest.length > 0) {
    const [, name = '', inline] = /^--?([a-z0-9-]+)(?:=(.*))?$/s.exec(rest.shift() ?? '') ?? [];
    if (name in SWITCHES || IGNORED_SWITCHES.has(name)) {
      settings[name] = inline ?? 'true';
    } else if (name in FLAGS || IGNORED_FLAGS.has(name)) {
      const value = inline ?? rest.shift();
      if (value === undefined) fatal(`flag needs an argument: -${name}`);
      settings[name] = name === 'tags' && settings.tags ? `${settings.tags},${value}` : value;
    } else {
      fatal(`flag provided but not defined: -${name}`);
    }
  }
  const file = settings.config ?? process.env.BUILDKITE_AGENT_CONFIG;
  const configured = file ? configurationOf(file) : {};
  for (const [name, variable] of Object.entries({ ...FLAGS, ...SWITCHES })) {
    settings[name] ??= process.env[variable] ?? configured[name];
  }
  // No job gets it in its environment.
  delete process.env.BUILDKITE_AGENT_TOKEN;
  return settings;
}

/** The `name="value"` lines of a configuration file. */
function configurationOf(file: string): Settings {
  if (!existsSync(file)) fatal(`A configuration file could not be found at: "${file}"`);
  return Object.fromEntries(
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line) => {
        const [, name, value = ''] = /^\s*([a-z0-9-]+)\s*=\s*"?(.*?)"?\s*$/.exec(line) ?? [];
        return name ? [[name, value]] : [];
      }),
  );
}

/** A token may be in a file or an open descriptor instead of the command line. */
function tokenOf(value: string | undefined): string {
  if (!value) fatal('Missing token. See: `buildkite-agent start --help`');
  if (value.startsWith('file://')) return readFileSync(value.slice('file://'.length), 'utf8').trim();
  if (value.startsWith('fd://')) return readFileSync(Number(value.slice('fd://'.length)), 'utf8').trim();
  return value;
}

async function start(settings: Settings): Promise<number> {
  const endpoint = settings.endpoint ?? 'https://agent-edge.buildkite.com/v3';
  const isOn = (name: string) => settings[name] !== undefined && settings[name] !== 'false';
  log(`Starting buildkite-agent v${version} with PID: ${process.pid}`);
  const agent = await register(endpoint, settings);
  log(`Successfully registered agent "${agent.name}"`);

  let stops = 0;
  let job: { id: string; cancel(reason: string): void } | undefined;
  let stopped: Promise<unknown> = Promise.resolve();
  const stopping = new AbortController();
  const disconnected = new AbortController();

  const call = (
    method: string,
    path: string,
    body?: unknown,
    token = agent.access_token,
    abort?: AbortSignal,
  ) => request(agent.endpoint, method, path, token, body, abort);

  function stop(cancels: boolean): void {
    stops += 1;
    if (stops > 2) process.exit(1);
    if (stops === 1 && !cancels) {
      log('Gracefully stopping agent. Waiting for current job to finish before disconnecting...');
      stopped = call('POST', 'stop', {}, agent.access_token, AbortSignal.timeout(STOP_MS)).catch(() => {
        // Best effort: the disconnect follows.
      });
    } else {
      log('Forcefully stopping agent. The current job will be canceled before disconnecting...');
      setTimeout(() => process.exit(1), HARD_EXIT_MS).unref();
      job?.cancel('agent_stop');
    }
    stopping.abort();
  }
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop(false));
  process.on('SIGQUIT', () => stop(true));
  process.on('SIGHUP', () => {});

  const health = createServer((incoming, response) => {
    if (incoming.url !== '/status.json') return void response.end('OK: Buildkite agent is running');
    const status = job ? 'busy' : 'idle';
    response.setHeader('content-type', 'application/json').end(
      JSON.stringify({
        health: 'ok',
        aggregate_status: status,
        workers: [{ status, ...(job && { current_job_id: job.id }), id: agent.id, spawn_index: 1 }],
      }),
    );
  });
  const address = settings['health-check-addr'];
  if (address) await serveHealth(address);

  const connected = await persist(() => call('POST', 'connect'), 50, stopping.signal);
  if (!connected?.ok) fatal(`POST ${agent.endpoint}/connect: ${connected?.status ?? 'no answer'}`);
  agentHook('agent-startup');
  const heartbeats = heartbeat();
  const code = await work();
  disconnected.abort();
  await heartbeats;
  // On two connections the disconnect can be the first to arrive.
  await stopped;
  log('Disconnecting...');
  await persist(() => call('POST', 'disconnect'), 3);
  log('Disconnected');
  agentHook('agent-shutdown');
  health.close();
  return code;

  async function serveHealth(at: string): Promise<void> {
    const [host, port] = [at.slice(0, at.lastIndexOf(':')), Number(at.slice(at.lastIndexOf(':') + 1))];
    await new Promise<void>((resolve, reject) => {
      health.once('error', reject);
      health.listen(port, host || '0.0.0.0', resolve);
    });
  }

  async function heartbeat(): Promise<void> {
    for (;;) {
      await sleep(agent.heartbeat_interval * 1000, undefined, { signal: disconnected.signal }).catch(
        () => {},
      );
      if (disconnected.signal.aborted) return;
      await call('POST', 'heartbeat', { sent_at: new Date().toISOString() }).then(
        (response) => response.arrayBuffer(),
        () => {
          // The next one may succeed; Buildkite waits for several.
        },
      );
    }
  }

  /** Pings and runs jobs until the agent ends. Returns its exit code. */
  async function work(): Promise<number> {
    const idleSeconds = Number(settings['disconnect-after-idle-timeout'] ?? 0);
    let idleSince = performance.now();
    let jobsDone = 0;
    let isPaused = false;
    log('Waiting for instructions...');
    for (;;) {
      if (stopping.signal.aborted) return 0;
      let ping: { action?: string; job?: { id: string } } = {};
      try {
        const response = await call('GET', 'ping', undefined, agent.access_token, stopping.signal);
        if (response.ok) ping = (await response.json()) as typeof ping;
        else await response.arrayBuffer();
        if (isFinal(response.status)) {
          log(`The ping was refused with ${response.status}`);
          return 1;
        }
      } catch (error) {
        if (!isNetworkError(error)) throw error;
      }
      // An answer that arrives during a stop is dropped.
      if (stopping.signal.aborted) return 0;
      if (ping.action === 'disconnect') return 0;
      isPaused = ping.action === 'pause';
      if (!isPaused && jobsDone > 0 && isOn('disconnect-after-job')) return 0;
      if (!isPaused && ping.job && (await take(ping.job.id))) {
        jobsDone += 1;
        idleSince = performance.now();
        continue;
      }
      if (!isPaused && idleSeconds > 0 && performance.now() - idleSince >= idleSeconds * 1000) return 0;
      const interval = agent.ping_interval * 1000;
      await sleep(interval + randomInt(interval), undefined, { signal: stopping.signal }).catch(() => {});
    }
  }

  /** Whether the job was accepted; it has ended then. */
  async function take(id: string): Promise<boolean> {
    log(`Assigned job ${id}. Accepting...`);
    const response = await persist(() => call('PUT', `jobs/${id}/accept`), 150);
    if (!response?.ok) {
      log(`Job ${id} was not accepted: ${response?.status ?? 'no answer'}`);
      return false;
    }
    await runJob((await response.json()) as Accepted);
    return true;
  }

  async function runJob(accepted: Accepted): Promise<void> {
    const cancelled = new AbortController();
    let reason: string | undefined;
    const own = {
      id: accepted.id,
      cancel(why: string) {
        reason ??= why;
        cancelled.abort();
      },
    };
    job = own;
    log(`Starting job at ${accepted.env.BUILDKITE_BUILD_URL}#${accepted.id}`);
    const jobCall = (method: string, path: string, body?: unknown) =>
      call(method, `jobs/${accepted.id}${path}`, body, accepted.token);
    await persist(
      () => jobCall('PUT', '/start', { started_at: new Date().toISOString() }),
      SEND_WITHIN_SECONDS,
    );
    const chunks = chunksOf(accepted);
    const states = watchState(jobCall, own, accepted.id);
    const ended = await bootstrap(accepted, chunks.write, cancelled.signal);
    states.stop();
    await chunks.end();
    await persist(
      () =>
        jobCall('PUT', '/finish', {
          ...(reason === undefined || ended.refused
            ? ended.report
            : { exit_status: '-1', signal: ended.signal ?? 'SIGTERM', signal_reason: reason }),
          finished_at: new Date().toISOString(),
          chunks_failed_count: 0,
          ...(isOn('disconnect-after-job') && { ignore_agent_in_dispatches: true }),
        }),
      SEND_WITHIN_SECONDS,
    );
    log(`Finished job at ${accepted.env.BUILDKITE_BUILD_URL}#${accepted.id}`);
    job = undefined;
  }

  function watchState(
    jobCall: (method: string, path: string) => Promise<Response>,
    own: { cancel(reason: string): void },
    id: string,
  ) {
    const timer = setInterval(async () => {
      try {
        const response = await jobCall('GET', '');
        const { state = '' } = (await response.json()) as { state?: string };
        if (!['canceling', 'canceled', 'timing_out', 'timed_out'].includes(state)) return;
        log(`Job ${id} was cancelled`);
        own.cancel('cancel');
      } catch (error) {
        if (!isNetworkError(error)) throw error;
      }
    }, agent.job_status_interval * 1000);
    return { stop: () => clearInterval(timer) };
  }

  type Ended = { report: Record<string, string>; signal?: string; refused?: boolean };

  /** Runs the hooks and the command of a job. */
  async function bootstrap(
    accepted: Accepted,
    output: (text: string) => void,
    cancelled: AbortSignal,
  ): Promise<Ended> {
    const env = jobEnvironment(accepted);
    const { code: refusal } = hook('pre-bootstrap', env);
    if (refusal !== 0) {
      return { report: { exit_status: '-1', signal_reason: 'agent_refused' }, refused: true };
    }
    const checkout = env.BUILDKITE_BUILD_CHECKOUT_PATH ?? '';
    mkdirSync(checkout, { recursive: true });
    // The last two words are what the process list shows of the real one.
    const command = ['bash', '-c', BOOTSTRAP, 'buildkite-agent', 'bootstrap'];
    const { child, exit } = run(command, { cwd: checkout, env, detached: true }, output);
    let kill: NodeJS.Timeout | undefined;
    const interrupt = () => {
      signal(-(child.pid ?? 0), 'SIGTERM');
      kill = setTimeout(() => signal(-(child.pid ?? 0), 'SIGKILL'), SIGNAL_GRACE_MS);
    };
    if (cancelled.aborted) interrupt();
    else cancelled.addEventListener('abort', interrupt, { once: true });
    const { code, signal: by } = await exit;
    clearTimeout(kill);
    return by
      ? { report: { exit_status: '-1', signal: by, signal_reason: 'process_run_error' }, signal: by }
      : { report: { exit_status: String(code) } };
  }

  function jobEnvironment(accepted: Accepted): NodeJS.ProcessEnv {
    const builds = settings['build-path'] ?? join(tmpdir(), 'builds');
    const name = agent.name.replace(/[^A-Za-z0-9.-]/g, '-');
    return {
      ...process.env,
      ...accepted.env,
      BUILDKITE_AGENT_ACCESS_TOKEN: accepted.token,
      BUILDKITE_AGENT_ENDPOINT: agent.endpoint,
      BUILDKITE_AGENT_ID: agent.id,
      BUILDKITE_AGENT_NAME: agent.name,
      BUILDKITE_AGENT_PID: String(process.pid),
      BUILDKITE_BUILD_PATH: builds,
      BUILDKITE_HOOKS_PATH: settings['hooks-path'] ?? '',
      BUILDKITE_BUILD_CHECKOUT_PATH: join(
        builds,
        name,
        accepted.env.BUILDKITE_ORGANIZATION_SLUG ?? '',
        accepted.env.BUILDKITE_PIPELINE_SLUG ?? '',
      ),
    };
  }

  /** Runs a hook on the side of the agent, if there is one. */
  function hook(name: string, env: NodeJS.ProcessEnv): { code: number } {
    const path = join(settings['hooks-path'] ?? '/nonexistent', name);
    if (!existsSync(path)) return { code: 0 };
    const { status } = spawnSync('bash', [path], { env, stdio: 'inherit' });
    return { code: status ?? 1 };
  }

  function agentHook(name: string): void {
    const { code } = hook(name, {
      ...process.env,
      BUILDKITE_AGENT_IDS: agent.id,
      BUILDKITE_AGENT_NAMES: agent.name,
    });
    if (code !== 0) log(`The hook ${name} ended with ${code}`);
  }

  /** The log of a job: sent in pieces, in order, each with its place. */
  function chunksOf(accepted: Accepted) {
    let waiting = '';
    let sequence = 0;
    let offset = 0;
    let sending: Promise<void> = Promise.resolve();
    const flush = () => {
      const text = Buffer.from(waiting);
      waiting = '';
      if (text.length === 0) return;
      sequence += 1;
      const path = `jobs/${accepted.id}/chunks?sequence=${sequence}&offset=${offset}&size=${text.length}`;
      offset += text.length;
      sending = sending.then(async () => {
        await persist(
          () =>
            fetch(`${agent.endpoint}/${path}`, {
              method: 'POST',
              headers: {
                authorization: `Token ${accepted.token}`,
                'content-encoding': 'gzip',
                'content-type': 'text/plain',
                'user-agent': `buildkite-agent/${version}`,
              },
              body: gzipSync(text),
            }),
          SEND_WITHIN_SECONDS,
        );
      });
    };
    const timer = setInterval(flush, (accepted.chunks_interval_seconds || 1) * 1000);
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
}

/**
 * What runs as the process of a job. A signal to its group interrupts the command and leaves this shell, so that the hook `pre-exit` runs.
 */
const BOOTSTRAP = `
trap 'export BUILDKITE_JOB_CANCELLED=true' TERM INT
hook() {
  [ -f "$BUILDKITE_HOOKS_PATH/$1" ] || return 0
  echo "~~~ Running agent $1 hook"
  . "$BUILDKITE_HOOKS_PATH/$1"
}
status=0
hook environment && hook pre-command || status=$?
if [ $status = 0 ]; then
  echo "~~~ Running commands"
  bash -e -c "$BUILDKITE_COMMAND"
  status=$?
  export BUILDKITE_COMMAND_EXIT_STATUS=$status
  hook post-command || status=$?
fi
hook pre-exit || status=$?
exit $status
`;

async function register(endpoint: string, settings: Settings): Promise<Registered> {
  const token = tokenOf(settings.token);
  const tags = (settings.tags ?? '').split(',').filter(Boolean);
  if (settings.queue) tags.push(`queue=${settings.queue}`);
  const body = {
    name: (settings.name ?? '').replaceAll('%hostname', hostname()).replaceAll('%spawn', '1'),
    hostname: hostname(),
    os: `${process.platform}`,
    arch: process.arch === 'x64' ? 'amd64' : process.arch,
    script_eval_enabled: true,
    ignore_in_dispatches: false,
    ...(settings.priority && { priority: settings.priority }),
    version,
    build: '0',
    meta_data: tags,
    pid: process.pid,
    features: [],
  };
  log('Registering agent with Buildkite...');
  // A signal ends an agent that has not registered yet, as it ends every program.
  const response = await persist(
    () => request(endpoint, 'POST', 'register', token, body),
    REGISTER_WITHIN_SECONDS,
  );
  if (!response?.ok)
    fatal(
      `POST ${endpoint}/register: ${response ? `${response.status} ${await response.text()}` : 'no answer'}`,
    );
  return (await response.json()) as Registered;
}

function request(
  endpoint: string,
  method: string,
  path: string,
  token: string,
  body?: unknown,
  abort?: AbortSignal,
): Promise<Response> {
  return fetch(`${endpoint}/${path}`, {
    method,
    headers: {
      authorization: `Token ${token}`,
      'user-agent': `buildkite-agent/${version}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(abort && { signal: abort }),
  });
}

/** An answer that no repetition changes. */
function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429;
}

nameProcess('buildkite-agent');
const [command, ...args] = process.argv.slice(2);
if (command === '--version') {
  console.log(`buildkite-agent version ${version}+0`);
} else if (command === 'start') {
  process.exit(await start(settingsOf(args)));
} else {
  fatal(`this agent has only the command start, not ${command ?? 'none'}`);
}
