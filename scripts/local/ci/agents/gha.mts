import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNetworkError, nameProcess, persist } from './process.mts';

/**
 * Behaves as `bin/Runner.Listener run` of GitHub's runner, with the stand-in of this repository as its service. Its root is the parent of the
 * folder it lies in, as that of the real one.
 */
const bin = import.meta.dirname;
const root = dirname(bin);
const version = readFileSync(join(bin, 'gha.version'), 'utf8').trim();

/** Exit codes of the real listener. */
const EXIT = {
  done: 0,
  terminated: 1,
  retryable: 2,
  updating: 3,
  updatingOneJob: 4,
  conflict: 5,
  deprecated: 7,
};

const CONFIGURATION = ['.runner', '.credentials', '.credentials_rsaparams'];

/** SIGTERM ends the listener after this time even if its job still runs. */
const LEAVE_WITHIN_MS = 30_000;

/** Longest time that the result of a job is sent for. */
const COMPLETE_WITHIN_SECONDS = 120;

type Settings = { AgentName: string; ServerUrl: string; WorkFolder: string; Ephemeral?: boolean };
type Job = { id: string; name: string; token: string; renewSeconds: number; [more: string]: unknown };
type Message = { kind: 'job' | 'cancel'; jobId: string } | { kind: 'update'; version: string };

/** The job that runs, and its worker. */
type Running = { job: Job; worker: ChildProcess; ended: Promise<void> };

function main(): Promise<number> {
  const [command, ...args] = process.argv.slice(2);
  if (command === '--version') {
    console.log(version);
    return Promise.resolve(EXIT.done);
  }
  if (command !== 'run') {
    console.error(`this listener has only the command run, not ${command ?? 'none'}`);
    return Promise.resolve(EXIT.terminated);
  }
  if (process.getuid?.() === 0 && !process.env.RUNNER_ALLOW_RUNASROOT) {
    console.error('Must not run with sudo');
    return Promise.resolve(EXIT.terminated);
  }
  loadEnvironment();
  takeConfiguration(args);
  const settings = read<Settings>('.runner');
  const credentials = read<{ Data: { Token: string } }>('.credentials');
  if (!settings || !credentials) {
    console.error('Not configured. Run config.(sh/cmd) to configure the runner.');
    return Promise.resolve(EXIT.terminated);
  }
  return listen(settings, credentials.Data.Token);
}

/** `.env` in the root is added to the environment. */
function loadEnvironment(): void {
  const file = join(root, '.env');
  if (!existsSync(file)) return;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0) process.env[line.slice(0, equals)] = line.slice(equals + 1).trim();
  }
}

/** Writes the files of a just-in-time configuration below the root, over what is there. */
function takeConfiguration(args: readonly string[]): void {
  const argument = args.indexOf('--jitconfig');
  const packed = argument >= 0 ? args[argument + 1] : process.env.ACTIONS_RUNNER_INPUT_JITCONFIG;
  // No job may find it in its environment.
  delete process.env.ACTIONS_RUNNER_INPUT_JITCONFIG;
  if (!packed) return;
  const files = JSON.parse(Buffer.from(packed, 'base64').toString()) as Record<string, string>;
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(root, basename(name)), Buffer.from(content, 'base64'), { mode: 0o600 });
  }
}

function read<T>(name: string): T | undefined {
  const file = join(root, name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T) : undefined;
}

function removeConfiguration(): void {
  for (const name of CONFIGURATION) {
    rmSync(join(root, name), { force: true });
    console.log(`√ Removed ${name}`);
  }
}

function stamp(): string {
  return new Date()
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}

/** Prints a line as the real listener does. */
function print(text: string): void {
  console.log(`${stamp()}: ${text}`);
}

const diagnostics = join(
  root,
  '_diag',
  `Runner_${new Date()
    .toISOString()
    .replace(/[-:]/g, '')
    .replace('T', '-')
    .replace(/\.\d+Z$/, '')}-utc.log`,
);

function trace(from: string, text: string): void {
  mkdirSync(dirname(diagnostics), { recursive: true });
  appendFileSync(diagnostics, `[${stamp()} INFO ${from}] ${text}\n`);
}

async function listen(settings: Settings, token: string): Promise<number> {
  const isOneJob = String(settings.Ephemeral).toLowerCase() === 'true';
  const stopped = new AbortController();
  let running: Running | undefined;
  let jobTaken = false;
  let leaveAt: number | undefined;

  const call = (method: string, path: string, body?: unknown, bearer = token, abort?: AbortSignal) =>
    fetch(new URL(`/_listener/${path}`, settings.ServerUrl), {
      method,
      headers: { authorization: `Bearer ${bearer}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(abort && { signal: abort }),
    });

  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stopped.signal.aborted) return;
      trace('Runner', `Received ${name}`);
      console.log('Exiting...');
      if (name === 'SIGTERM') leaveAt = performance.now() + LEAVE_WITHIN_MS;
      stopped.abort();
    });
  }

  trace('Listener', `Version: ${version}`);
  const opened = await openSession();
  if (typeof opened === 'number') return opened;
  const code = await poll(opened);
  if (running) await finishJob(running);
  // The service may be gone; the listener does not wait for it.
  await persist(() => call('DELETE', `sessions/${opened}`, undefined, token, AbortSignal.timeout(30_000)), 1);
  return code;

  /** The id of the session, or the exit code. */
  async function openSession(): Promise<string | number> {
    const since = performance.now();
    for (;;) {
      if (stopped.signal.aborted) return EXIT.done;
      let wait = 1_000;
      try {
        const response = await call(
          'POST',
          'sessions',
          { version },
          token,
          AbortSignal.any([stopped.signal, AbortSignal.timeout(30_000)]),
        );
        const text = await response.text();
        if (response.ok) {
          console.log('\n√ Connected to GitHub\n');
          console.log(`Current runner version: '${version}'`);
          print('Listening for Jobs');
          return (JSON.parse(text) as { sessionId: string }).sessionId;
        }
        if (response.status === 404 || response.status === 401) {
          console.error(
            'Failed to create a session. The runner registration has been deleted from the server, please re-configure. Runner registrations are automatically deleted for runners that have not connected to the service recently.',
          );
          return EXIT.terminated;
        }
        if (response.status === 403) return refused();
        if (response.status === 503) {
          console.error('Failed to create a session: the service is unavailable.');
          return EXIT.retryable;
        }
        if (response.status === 409) {
          const { retrySeconds } = JSON.parse(text) as { retrySeconds: number };
          print('A session for this runner already exists.');
          if (performance.now() - since > retrySeconds * 1000) {
            console.error('Failed to create session: a session for this runner already exists.');
            return EXIT.conflict;
          }
          wait = Math.min(30_000, Math.max(100, retrySeconds * 200));
        }
      } catch (error) {
        if (!isNetworkError(error)) throw error;
        print('Runner connect error. Retrying until reconnected.');
      }
      await sleep(wait, undefined, { signal: stopped.signal }).catch(() => {});
    }
  }

  function refused(): number {
    console.error(`An error occured: Runner version v${version} is deprecated and cannot receive messages.`);
    return process.env.ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE ? EXIT.deprecated : EXIT.terminated;
  }

  /** Takes messages until the listener ends. Returns its exit code. */
  async function poll(session: string): Promise<number> {
    const jobEnded = new AbortController();
    const next = AbortSignal.any([stopped.signal, jobEnded.signal]);
    let current = session;
    let connected = true;
    for (;;) {
      if (stopped.signal.aborted) {
        // The message to the worker is the end of the runner, not a cancellation by a user.
        running?.worker.send('shutdown');
        return EXIT.done;
      }
      if (jobEnded.signal.aborted) {
        removeConfiguration();
        return EXIT.done;
      }
      try {
        const response = await call('GET', `sessions/${current}/message`, undefined, token, next);
        if (!connected) print('Runner reconnected.');
        connected = true;
        if (response.status === 200) {
          const code = await handle((await response.json()) as Message);
          if (code !== undefined) return code;
          continue;
        }
        await response.arrayBuffer();
        if (response.status === 404) {
          // The registration is gone, while idle or during a job: the loop ends either way, and the job with it.
          trace('Runner', 'Runner registration not found.');
          running?.worker.send('cancel');
          removeConfiguration();
          return EXIT.done;
        }
        if (response.status === 401) {
          const again = await openSession();
          if (typeof again === 'number') return again;
          current = again;
        } else if (response.status !== 202) {
          await sleep(1_000, undefined, { signal: next }).catch(() => {});
        }
      } catch (error) {
        if (!isNetworkError(error)) throw error;
        if (next.aborted) continue;
        if (connected) print('Runner connect error. Retrying until reconnected.');
        connected = false;
        await sleep(1_000, undefined, { signal: next }).catch(() => {});
      }
    }

    async function handle(message: Message): Promise<number | undefined> {
      if (message.kind === 'update') {
        if (running) await running.ended;
        await update(message.version);
        return isOneJob ? EXIT.updatingOneJob : EXIT.updating;
      }
      if (message.kind === 'cancel') {
        if (running?.job.id === message.jobId) running.worker.send('cancel');
        return undefined;
      }
      if (isOneJob && jobTaken) {
        trace(
          'Runner',
          `Skipping message Job. The runner takes one job and has it already. Job ${message.jobId}`,
        );
        return undefined;
      }
      const response = await persist(() => call('POST', `jobs/${message.jobId}/acquire`), 60, stopped.signal);
      if (response?.status !== 200) {
        // The job belongs to another runner by now. The real listener continues to poll too, even if its registration is used up.
        trace('Runner', `Skipping message Job. Job message not found '${message.jobId}'.`);
        return undefined;
      }
      jobTaken = true;
      const started = startWorker((await response.json()) as Job);
      running = started;
      void started.ended.then(() => {
        running = undefined;
        if (isOneJob) jobEnded.abort();
      });
      return undefined;
    }
  }

  function startWorker(job: Job): Running {
    print(`Running job: ${job.name}`);
    const worker = spawn(process.execPath, ['--no-warnings', join(bin, 'gha-worker.mts'), 'spawnclient'], {
      argv0: join(bin, 'Runner.Worker'),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      cwd: root,
    });
    trace('JobDispatcher', `Send job request message to worker for job ${job.id}`);
    worker.send({
      ...job,
      root,
      server: settings.ServerUrl,
      agent: settings.AgentName,
      workFolder: settings.WorkFolder,
    });
    const renewal = setInterval(() => {
      call('POST', `jobs/${job.id}/renew`, undefined, job.token, AbortSignal.timeout(5_000)).then(
        (response) => {
          // The service has ended the job; it accepts no result.
          if (response.status === 404 && worker.connected) worker.send('cancel');
        },
        () => {
          // The next renewal may succeed; the lock lasts for several.
        },
      );
    }, job.renewSeconds * 1000);
    const ended = new Promise<number | null>((resolve) => {
      worker.once('exit', resolve);
      worker.once('error', (error) => {
        console.error(error.message);
        resolve(null);
      });
    }).then(async (code) => {
      clearInterval(renewal);
      const result = RESULTS[code ?? -1];
      if (result === undefined) {
        // A worker that was killed has reported nothing.
        trace('JobDispatcher', `Worker ended with ${code} for job ${job.id}`);
        await persist(
          () =>
            call(
              'POST',
              `jobs/${job.id}/complete`,
              { result: 'failed' },
              job.token,
              AbortSignal.timeout(5_000),
            ),
          COMPLETE_WITHIN_SECONDS,
        );
      }
      trace('JobDispatcher', `finish job request for job ${job.id} with result: ${result ?? 'Failed'}`);
      print(`Job ${job.name} completed with result: ${result ?? 'Failed'}`);
    });
    return { job, worker, ended };
  }

  async function finishJob({ ended }: Running): Promise<void> {
    if (leaveAt === undefined) return ended;
    await Promise.race([ended, sleep(leaveAt - performance.now(), undefined, { ref: false })]);
  }
}

/** Exit codes of the worker: 100 plus the result. */
const RESULTS: Record<number, string> = { 100: 'Succeeded', 102: 'Failed', 103: 'Canceled' };

/**
 * Puts the new version beside the present one. A script that outlives the listener exchanges them and then writes `update.finished`, as that
 * of the real listener does.
 */
async function update(to: string): Promise<void> {
  console.log(`Runner update in progress, do not shutdown runner.\nDownloading ${to} runner`);
  const next = join(root, `bin.${to}`);
  rmSync(next, { recursive: true, force: true });
  cpSync(bin, next, { recursive: true });
  writeFileSync(join(next, 'gha.version'), `${to}\n`);
  rmSync(join(root, 'update.finished'), { force: true });
  const script = `
while kill -0 ${process.pid} 2>/dev/null; do sleep 0.05; done
cd "$1" || exit 1
if [ -L bin ]; then rm bin; else mv bin "bin.${version}"; fi
ln -s "bin.${to}" bin && touch update.finished`;
  spawn('sh', ['-c', script, '_update.sh', root], { detached: true, stdio: 'ignore' }).unref();
  console.log(
    `Waiting for current job finish running.\nGenerate and execute update script.\nRunner will exit shortly for update, should be back online within 10 seconds.`,
  );
}

nameProcess('Runner.Listener');
process.exit(await main());
