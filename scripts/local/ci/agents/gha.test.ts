import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lowPort } from '../../free-port.ts';
import { type Github, startGithub } from '../github/server.ts';
import {
  childrenOf,
  endPrograms,
  isAlive,
  type Program,
  signal,
  startProgram,
  temporaryFolder,
  until,
} from '../testing/program.ts';
import { installFakeAgent } from './install.ts';

let github: Github;
let root: string;
let listener: string;
beforeEach(async () => {
  github = await startGithub({ tokens: ['t'], behaviour: { assignmentLagSeconds: 0, pollSeconds: 5 } });
  root = temporaryFolder();
  listener = installFakeAgent('gha', root);
});
afterEach(async () => {
  await endPrograms();
  await github.close();
});

async function register(name: string): Promise<string> {
  const response = await fetch(
    new URL('/repos/acme/monorepo/actions/runners/generate-jitconfig', github.url),
    {
      method: 'POST',
      headers: { authorization: 'Bearer t' },
      body: JSON.stringify({ name, runner_group_id: 1, labels: ['x'] }),
    },
  );
  expect(response.status).toBe(201);
  return ((await response.json()) as { encoded_jit_config: string }).encoded_jit_config;
}

const remove = (id: number | undefined) =>
  fetch(new URL(`/repos/acme/monorepo/actions/runners/${id}`, github.url), {
    method: 'DELETE',
    headers: { authorization: 'Bearer t' },
  });

const run = (config: string | undefined, env: NodeJS.ProcessEnv = {}): Program =>
  startProgram(listener, ['run'], {
    RUNNER_ALLOW_RUNASROOT: '1',
    ...(config !== undefined && { ACTIONS_RUNNER_INPUT_JITCONFIG: config }),
    ...env,
  });

async function listening(name = 'a', env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const program = run(await register(name), env);
  await until('Listening for Jobs', () => program.output().includes('Listening for Jobs'));
  return program;
}

const queue = (command: string) => github.queueJob({ command, labels: ['x'], name: 'build' });

/** Starts a listener and a job, and waits until the command of the job runs. */
async function working(command: string, env: NodeJS.ProcessEnv = {}) {
  const job = queue(`echo begun; ${command}`);
  const program = await listening('a', env);
  await until('the command', () => job.log.includes('begun'));
  return { job, program };
}

const traces = () =>
  readdirSync(join(root, '_diag'))
    .map((name) => readFileSync(join(root, '_diag', name), 'utf8'))
    .join('');

test('runs one job, reports it, and ends with 0 and without a registration', async () => {
  const job = queue('echo "in $PWD"; env');
  const program = await listening('a', { RUNNER_MARK: 'seen' });
  expect(await program.exit).toBe(0);
  expect(job).toMatchObject({ state: 'finished', result: 'succeeded', agent: 'a', starts: 1, exitStatus: 0 });
  expect(job.log).toContain(`in ${root}/_work/monorepo/monorepo\n`);
  expect(job.log).toContain('RUNNER_MARK=seen');
  expect(job.log).not.toContain('JITCONFIG');
  expect(program.output()).toMatch(
    /Listening for Jobs\n.*Running job: build\n.*Job build completed with result: Succeeded\n/s,
  );
  expect(github.registrations()).toEqual([]);
  expect(readdirSync(root).sort()).toEqual(['_diag', '_work', 'bin']);
  expect(traces()).toContain(`finish job request for job ${job.id}`);
});

test('the worker is a child process with the name of the real one', async () => {
  const { program } = await working('sleep 60');
  const [worker] = childrenOf(program.child.pid ?? 0);
  expect(readFileSync(`/proc/${worker}/comm`, 'utf8')).toBe('Runner.Worker\n');
  expect(readFileSync(`/proc/${program.child.pid}/comm`, 'utf8')).toBe('Runner.Listener\n');
});

test('a command that fails is a failed job, and the listener ends with 0', async () => {
  const job = queue('exit 7');
  expect(await (await listening()).exit).toBe(0);
  expect(job).toMatchObject({ result: 'failed', exitStatus: 7 });
});

test('refuses root, and a start without a configuration', async () => {
  if (process.getuid?.() === 0) {
    const program = run(await register('a'), { RUNNER_ALLOW_RUNASROOT: '' });
    expect(await program.exit).toBe(1);
    expect(program.output()).toContain('Must not run with sudo');
  }
  expect(await run(undefined).exit).toBe(1);
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s while idle: ends with 0 and leaves the registration',
  async (signal) => {
    const program = await listening();
    program.kill(signal);
    expect(await program.exit).toBe(0);
    expect(github.registrations()).toMatchObject([{ name: 'a', online: false }]);
    expect(existsSync(join(root, '.runner'))).toBe(true);
  },
);

test('SIGINT during a job cancels it', async () => {
  const { job, program } = await working(
    'trap "echo trapped; exit 1" INT; for i in $(seq 600); do sleep 0.1; done',
  );
  program.kill('SIGINT');
  expect(await program.exit).toBe(0);
  expect(job).toMatchObject({ state: 'finished', result: 'cancelled' });
  expect(job.log).toContain('trapped');
});

test('a registration that is removed while idle ends the listener with 0', async () => {
  const program = await listening();
  expect((await remove(github.registrations()[0]?.id)).status).toBe(204);
  expect(await program.exit).toBe(0);
  expect(existsSync(join(root, '.runner'))).toBe(false);
});

test('a registration that is removed during a job cancels the job', async () => {
  github.behave({ busyLies: true });
  const { job, program } = await working('trap "exit 1" INT; for i in $(seq 600); do sleep 0.1; done');
  expect((await remove(github.registrations()[0]?.id)).status).toBe(204);
  expect(await program.exit).toBe(0);
  expect(job.result).toBe('cancelled');
});

test('a lost pick-up leaves a listener without a registration that never gets a job', async () => {
  github.behave({ lostPickups: 1 });
  const job = queue('echo hi');
  const program = await listening();
  await until('the ghost', () => github.registrations()[0]?.ghost === true);
  expect(job).toMatchObject({ state: 'queued', assignments: 1, starts: 0 });
  await until('the trace', () => traces().includes('Skipping message Job'));
  expect(program.child.exitCode).toBeNull();
  program.kill('SIGINT');
  expect(await program.exit).toBe(0);
});

test('a version that is refused ends it with 1, or with 7 if that is asked for', async () => {
  github.behave({ minimumVersion: '2.337.0' });
  expect(await run(await register('a')).exit).toBe(1);
  expect(
    await run(await register('b'), { ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE: '1' }).exit,
  ).toBe(7);
});

test('updates itself: ends with 4, and the next start with the same configuration has the new version', async () => {
  github.behave({ updates: true, latestVersion: '2.400.0' });
  const config = await register('a');
  const job = queue('echo hi');
  expect(await run(config).exit).toBe(4);
  await until('update.finished', () => existsSync(join(root, 'update.finished')));
  expect(await run(config).exit).toBe(0);
  expect(job.log).toContain("Current runner version: '2.400.0'");
});

test('a registration that is unknown at the start: 1; a service that is unavailable: 2; a session of another: 5', async () => {
  const config = await register('a');
  github.behave({
    faults: [{ path: '_listener/sessions$', times: 1, effect: { kind: 'answer', status: 503 } }],
  });
  expect(await run(config).exit).toBe(2);
  github.behave({ sessionRetrySeconds: 0 });
  const first = run(config);
  await until('Listening', () => first.output().includes('Listening'));
  const folder = temporaryFolder();
  listener = installFakeAgent('gha', folder);
  expect(await run(config).exit).toBe(5);
  await remove(github.registrations()[0]?.id);
  await first.exit;
  expect(await run(config).exit).toBe(1);
});

test('hooks run before and after the job, and a failing one fails it', async () => {
  const hook = (name: string, script: string) => {
    writeFileSync(join(root, name), script);
    return join(root, name);
  };
  const job = queue('echo "step $FROM_HOOK"; exit 3');
  const env = {
    ACTIONS_RUNNER_HOOK_JOB_STARTED: hook('started.sh', 'echo started; echo FROM_HOOK=yes >> "$GITHUB_ENV"'),
    ACTIONS_RUNNER_HOOK_JOB_COMPLETED: hook('completed.sh', 'echo completed'),
  };
  await (await listening('a', env)).exit;
  expect(job.log).toMatch(/started\n.*step yes\n.*completed\n/s);
  expect(job).toMatchObject({ result: 'failed', exitStatus: 3 });

  const second = queue('echo ran');
  await (await listening('b', { ...env, ACTIONS_RUNNER_HOOK_JOB_STARTED: hook('started.sh', 'exit 1') }))
    .exit;
  expect(second.result).toBe('failed');
  expect(second.log).not.toContain('ran');
});

test('what a job leaves running is ended, unless it has another tracking id', async () => {
  const job = queue('sleep 61 & echo "left $!"; RUNNER_TRACKING_ID= sleep 62 & echo "kept $!"; sleep 0.1');
  await (await listening()).exit;
  const pid = (name: string) => Number(new RegExp(`${name} (\\d+)`).exec(job.log)?.[1]);
  // A process that is killed is not gone at once.
  await until('the end of what was left', () => !isAlive(pid('left')));
  expect(isAlive(pid('kept'))).toBe(true);
  signal(pid('kept'), 'SIGKILL');
});

test('a worker that is killed fails the job', async () => {
  const { job, program } = await working('sleep 60');
  const [worker = 0] = childrenOf(program.child.pid ?? 0);
  expect(worker).toBeGreaterThan(0);
  signal(worker, 'SIGKILL');
  expect(await program.exit).toBe(0);
  expect(job.result).toBe('failed');
});

test('a listener that is killed during a job: the job fails when its lock is over, and the registration stays', async () => {
  // Renewed each second, so that a computer that stands still for some seconds loses no job.
  const lockSeconds = 6;
  github.behave({ lockSeconds });
  const { job, program } = await working('echo "kept $$"; exec sleep 600');
  await until('the process of its step', () => /kept \d+/.test(job.log));
  await until(
    'the end of the first lock',
    () => Date.now() > (job.startedAt ?? 0) + (lockSeconds + 1) * 1000,
  );
  expect(job.state).toBe('running');
  github.behave({ offlineSeconds: 0.5 });
  program.kill('SIGKILL');
  await until('the loss', () => job.state === 'finished');
  expect(job.result).toBe('lost');
  expect(github.registrations()).toMatchObject([{ name: 'a', online: false }]);
  // The step outlives its worker.
  signal(Number(/kept (\d+)/.exec(job.log)?.[1]), 'SIGKILL');
});

test('a stand-in that is killed and started again loses neither the job nor its result', async () => {
  await github.close();
  const stateFile = join(temporaryFolder(), 'state.json');
  // No client gets this port while the stand-in is down.
  const port = await lowPort();
  const behaviour = { assignmentLagSeconds: 0, pollSeconds: 5 };
  const options = { tokens: ['t'], stateFile, behaviour, port };
  github = await startGithub(options);
  const { program } = await working('sleep 1; echo over');
  await github.close();
  github = await startGithub(options);
  expect(await program.exit).toBe(0);
  expect(github.jobs()).toMatchObject([{ state: 'finished', result: 'succeeded', starts: 1 }]);
  expect(github.jobs()[0]?.log).toContain('over');
});

test('a work folder that is absolute is used as it is', async () => {
  const work = join(temporaryFolder(), 'work');
  mkdirSync(work);
  const response = await fetch(
    new URL('/repos/acme/monorepo/actions/runners/generate-jitconfig', github.url),
    {
      method: 'POST',
      headers: { authorization: 'Bearer t' },
      body: JSON.stringify({ name: 'a', runner_group_id: 1, labels: ['x'], work_folder: work }),
    },
  );
  const { encoded_jit_config } = (await response.json()) as { encoded_jit_config: string };
  const job = queue('pwd');
  await run(encoded_jit_config).exit;
  expect(job.log).toContain(`${work}/monorepo/monorepo\n`);
});
