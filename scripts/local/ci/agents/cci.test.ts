import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Circleci, startCircleci } from '../circleci/server.ts';
import {
  childrenOf,
  endPrograms,
  type Program,
  signal,
  startProgram,
  temporaryFolder,
  until,
} from '../testing/program.ts';
import { installFakeAgent } from './install.ts';

let circleci: Circleci;
let folder: string;
let runner: string;
beforeEach(async () => {
  circleci = await startCircleci({
    resourceClasses: { 'acme/q': ['t'] },
    apiTokens: ['api'],
    // A heartbeat every 6 s, so that a computer that stands still for some seconds loses no task.
    behaviour: { pollSeconds: 2, lostSeconds: 30 },
  });
  folder = temporaryFolder();
  runner = installFakeAgent('cci', temporaryFolder());
});
afterEach(async () => {
  await endPrograms();
  await circleci.close();
});

function start(settings = '', env: NodeJS.ProcessEnv = {}): Program {
  const file = join(folder, 'config.yaml');
  writeFileSync(
    file,
    `api:\n  auth_token: "t" # of the class\n  url: ${circleci.url}\nrunner:\n  name: i-1\n  working_directory: "${folder}/%s"\n${settings}`,
  );
  return startProgram(runner, ['machine', '--config', file], env);
}

/** A command that waits until the test opens its gate: tasks must not end while the test is slow. */
const gate = () => join(folder, 'gate');
const waiting = () => `until [ -e '${gate()}' ]; do sleep 0.1; done`;
const openGate = () => writeFileSync(gate(), '');

const connected = (program: Program) =>
  until(
    'the runner',
    () => program.output().includes('waiting for tasks') && circleci.registrations().length > 0,
  );

async function working(command: string, settings = '') {
  const job = circleci.queueJob({ command: `echo begun; ${command}` });
  const program = start(settings);
  await until('the command', () => job.log.includes('begun'));
  return { job, program };
}

test('runs one task after the other, each in a folder of its own', async () => {
  const jobs = ['pwd; env', 'false | true; echo unreached'].map((command) => circleci.queueJob({ command }));
  const program = start('', { CIRCLECI_RUNNER_API_AUTH_TOKEN: 't', CIRCLECI_RUNNER_NAME: 'i-2' });
  await until('both', () => jobs.every(({ state }) => state === 'finished'));
  expect(jobs).toMatchObject([
    { result: 'succeeded', exitStatus: 0, agent: 'i-2', starts: 1 },
    { result: 'failed', exitStatus: 1, starts: 1 },
  ]);
  expect(jobs[0]?.log).toContain(`${folder}/${jobs[0]?.id}\n`);
  expect(jobs[0]?.log).toContain('CIRCLE_JOB=task-1');
  expect(jobs[0]?.log).not.toContain('AUTH_TOKEN');
  expect(jobs[1]?.log).not.toContain('unreached');
  expect(program.child.exitCode).toBeNull();
});

test('the configuration can be JSON', async () => {
  const file = join(folder, 'config.json');
  const job = circleci.queueJob({ command: 'true' });
  writeFileSync(
    file,
    JSON.stringify({
      api: { auth_token: 't', url: circleci.url },
      runner: {
        name: 'i-1',
        mode: 'single-task',
        working_directory: join(folder, 'task'),
        cleanup_working_directory: false,
        cache_task_agent: true,
        command_prefix: ['env', '-i'],
      },
    }),
  );
  expect(await startProgram(runner, ['machine', '--config', file]).exit).toBe(0);
  expect(job.result).toBe('succeeded');
  expect(existsSync(join(folder, 'task'))).toBe(true);
});

test('TERM while idle ends it with 0', async () => {
  const program = start();
  await connected(program);
  program.kill('SIGTERM');
  expect(await program.exit).toBe(0);
});

test('TERM during a task: the task goes on, no other is claimed, and it ends with 0', async () => {
  const { job, program } = await working(`${waiting()}; echo over`);
  const late = circleci.queueJob({ command: 'true' });
  program.kill('SIGTERM');
  await until('the drain', () => program.output().includes('shutting down'));
  openGate();
  expect(await program.exit).toBe(0);
  expect(job).toMatchObject({ result: 'succeeded' });
  expect(job.log).toContain('over');
  expect(late.state).toBe('queued');
});

test('a second TERM ends the task', async () => {
  const { job, program } = await working('sleep 60');
  program.kill('SIGTERM');
  await until('the drain', () => program.output().includes('shutting down'));
  program.kill('SIGTERM');
  expect(await program.exit).toBe(0);
  expect(job).toMatchObject({ result: 'failed', exitStatus: 143 });
});

test('a drain ends the task after max_run_time', async () => {
  const { job, program } = await working('sleep 60', '  max_run_time: 2s\n');
  program.kill('SIGTERM');
  expect(await program.exit).toBe(0);
  expect(job.result).toBe('failed');
});

test('single-task: one task, then 0', async () => {
  const [first, second] = [circleci.queueJob({ command: 'exit 3' }), circleci.queueJob({ command: 'true' })];
  expect(await start('  mode: single-task\n').exit).toBe(0);
  expect(first).toMatchObject({ result: 'failed', exitStatus: 3 });
  expect(second.state).toBe('queued');
});

test('ends after idle_timeout', async () => {
  expect(await start('  idle_timeout: 500ms\n').exit).toBe(0);
});

test('the command prefix surrounds the task', async () => {
  const prefix = join(folder, 'prefix.sh');
  writeFileSync(prefix, `#!/bin/sh\ntouch ${folder}/busy\n"$@"\ncode=$?\nrm ${folder}/busy\nexit $code\n`, {
    mode: 0o755,
  });
  const { job, program } = await working(
    `${waiting()}; exit 5`,
    `  command_prefix: ["${prefix}"]\n  mode: single-task\n`,
  );
  expect(existsSync(join(folder, 'busy'))).toBe(true);
  openGate();
  expect(await program.exit).toBe(0);
  expect(existsSync(join(folder, 'busy'))).toBe(false);
  expect(job).toMatchObject({ result: 'failed', exitStatus: 5 });
});

test('a task that is cancelled by a user ends, and the runner stays', async () => {
  const { job, program } = await working('sleep 60');
  circleci.cancelJob(job.id);
  await until('its end', () => job.state === 'finished');
  expect(job.result).toBe('cancelled');
  expect(program.child.exitCode).toBeNull();
});

test('cleanup_working_directory removes the folder of a task', async () => {
  const job = circleci.queueJob({ command: 'touch file' });
  await start('  cleanup_working_directory: true\n  mode: single-task\n').exit;
  expect(job.result).toBe('succeeded');
  expect(existsSync(join(folder, job.id))).toBe(false);
});

test('a runner that is killed loses its task, which can be repeated', async () => {
  const job = circleci.queueJob({ command: 'echo begun; sleep 60', reruns: 1 });
  const program = start();
  await until('the command', () => job.log.includes('begun'));
  const [task = 0] = childrenOf(program.child.pid ?? 0);
  program.kill('SIGKILL');
  circleci.behave({ lostSeconds: 2 });
  await until('the loss', () => job.state === 'finished');
  expect(job.result).toBe('lost');
  expect(circleci.jobs()).toMatchObject([{}, { state: 'queued', rerunOf: job.id }]);
  // It may have ended with the pipe of its output.
  expect(task).toBeGreaterThan(0);
  signal(task, 'SIGTERM');
});

test.each([
  ['a wrong token', '', { CIRCLECI_RUNNER_API_AUTH_TOKEN: 'wrong' }, /refused: 401/],
  ['an unknown mode', '  mode: many\n', {}, /runner.mode: many/],
  ['an unknown key', '  nmae: x\n', {}, /line 7: unknown key runner.nmae/],
  ['a duration in words', '  idle_timeout: never\n', {}, /runner.idle_timeout: never is no duration/],
  ['a name with other characters', '', { CIRCLECI_RUNNER_NAME: 'a/b' }, /runner.name: a\/b/],
])('%s ends it with 1 and a clear message', async (_, settings, env, message) => {
  const program = start(settings, env);
  expect(await program.exit).toBe(1);
  expect(program.output()).toMatch(message);
});
