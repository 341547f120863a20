import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { lowPort } from '../free-port.ts';
import { installFakeAgent } from './agents/install.ts';
import { endPrograms, type Program, startProgram, temporaryFolder, until } from './testing/program.ts';

/** `npm run ci-server`, as a user runs it. */

const MAIN = resolve(import.meta.dirname, 'main.ts');
const run = (...args: string[]) => startProgram(process.execPath, [MAIN, ...args]);
afterEach(endPrograms);

/** Runs the `curl` line with the given title that the program has printed. */
async function printed(program: Program, title: string): Promise<unknown> {
  const line = new RegExp(`^${title}:\\n  (curl .*)$`, 'm').exec(program.output())?.[1] ?? '';
  const curl = startProgram('sh', ['-c', line]);
  expect(await curl.exit).toBe(0);
  return JSON.parse(curl.output());
}

const value = (program: Program, name: string) =>
  new RegExp(`${name}: (\\S+)`).exec(program.output())?.[1] ?? '';

describe('the printed lines work', () => {
  test('github', async () => {
    const port = await lowPort();
    const program = run('--provider', 'github', '--port', String(port), '--repository', 'o/r');
    await until('the start', () => program.output().includes('Ctrl-C'));
    expect(program.output()).toContain(`github at http://127.0.0.1:${port}\n`);
    const job = await printed(program, 'queue a job');
    expect(job).toMatchObject({ state: 'queued', target: ['my-label'] });
    const response = await fetch(`http://127.0.0.1:${port}/repos/o/r/actions/runners/generate-jitconfig`, {
      method: 'POST',
      headers: { authorization: `Bearer ${value(program, 'token')}` },
      body: JSON.stringify({ name: 'a', runner_group_id: 1, labels: ['my-label'] }),
    });
    const { encoded_jit_config: config } = (await response.json()) as { encoded_jit_config: string };
    const listener = startProgram(installFakeAgent('gha', temporaryFolder()), ['run'], {
      RUNNER_ALLOW_RUNASROOT: '1',
      ACTIONS_RUNNER_INPUT_JITCONFIG: config,
    });
    expect(await listener.exit).toBe(0);
    expect(await printed(program, 'jobs with state, result and log')).toMatchObject([
      { result: 'succeeded', log: expect.stringContaining('hello\n') },
    ]);
    program.kill('SIGINT');
    expect(await program.exit).toBe(0);
  });

  test('buildkite', async () => {
    const program = run('--provider', 'buildkite', '--queue', 'main');
    await until('the start', () => program.output().includes('Ctrl-C'));
    await printed(program, 'queue a job');
    const line = /^ {2}buildkite-agent (start .*)$/m.exec(program.output())?.[1] ?? '';
    const folder = temporaryFolder();
    const agent = startProgram(installFakeAgent('bk', temporaryFolder()), [
      ...line.replace('/tmp/builds', folder).split(' '),
      '--disconnect-after-job',
    ]);
    expect(await agent.exit).toBe(0);
    expect(await printed(program, 'jobs with state, result and log')).toMatchObject([
      { result: 'succeeded' },
    ]);
    expect(await printed(program, 'agents')).toMatchObject([{ queue: 'main', state: 'disconnected' }]);
  });

  test('circleci', async () => {
    const program = run('--provider', 'circleci', '--resource-class', 'o/c');
    await until('the start', () => program.output().includes('Ctrl-C'));
    await printed(program, 'queue a job');
    const runner = startProgram(installFakeAgent('cci', temporaryFolder()), ['machine'], {
      CIRCLECI_RUNNER_API_URL: /circleci at (\S+)/.exec(program.output())?.[1],
      CIRCLECI_RUNNER_API_AUTH_TOKEN: value(program, 'token of the resource classes'),
      CIRCLECI_RUNNER_MODE: 'single-task',
      CIRCLECI_RUNNER_WORK_DIR: join(temporaryFolder(), '%s'),
    });
    expect(await runner.exit).toBe(0);
    expect(await printed(program, 'jobs with state, result and log')).toMatchObject([
      { result: 'succeeded' },
    ]);
  });
});

test('a killed server continues from its state file', async () => {
  const port = String(await lowPort());
  const args = [
    '--provider',
    'buildkite',
    '--port',
    port,
    '--state-file',
    join(temporaryFolder(), 'state.json'),
  ];
  const first = run(...args);
  await until('the start', () => first.output().includes('Ctrl-C'));
  const job = (await printed(first, 'queue a job')) as { id: string };
  first.kill('SIGKILL');
  await first.exit;
  const second = run(...args);
  await until('the second start', () => second.output().includes('Ctrl-C'));
  expect(await printed(second, 'jobs with state, result and log')).toMatchObject([
    { id: job.id, state: 'queued' },
  ]);
});

test('a GitHub App and a webhook are given as files and URLs', async () => {
  const { publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const file = join(temporaryFolder(), 'key.pem');
  writeFileSync(file, publicKey);
  const program = run(
    '--provider',
    'github',
    '--app-id',
    '7',
    '--app-public-key',
    file,
    '--webhook-url',
    'http://127.0.0.1:9/',
    '--webhook-secret',
    's',
  );
  await until('the start', () => program.output().includes('Ctrl-C'));
  expect(program.output()).toContain('App 7');
});

describe('a mistake ends it with 1 and one message', () => {
  test.each([
    ['no provider', [], /^--provider is missing\n/],
    [
      'an unknown provider',
      ['--provider', 'gitlab'],
      /^--provider gitlab: there are github, buildkite and circleci\n/,
    ],
    ['an unknown option', ['--provider', 'github', '--colour'], /^Unknown option '--colour'/],
    [
      'a port that is none',
      ['--provider', 'github', '--port', '70000'],
      /^--port 70000: a port is 1 to 65535\n/,
    ],
    [
      'an option of another provider',
      ['--provider', 'github', '--queue', 'q'],
      /^--queue is no option of github\n/,
    ],
    [
      'a repository without an owner',
      ['--provider', 'github', '--repository', 'r'],
      /^--repository r: the form is owner\/name\n/,
    ],
    [
      'a class without a namespace',
      ['--provider', 'circleci', '--resource-class', 'c'],
      /^--resource-class c: the form is/,
    ],
    [
      'an App without a key',
      ['--provider', 'github', '--app-id', '7'],
      /^--app-id and --app-public-key belong together\n/,
    ],
    [
      'a key that does not exist',
      ['--provider', 'github', '--app-id', '7', '--app-public-key', '/none'],
      /^--app-public-key: ENOENT/,
    ],
    [
      'a key that is none',
      ['--provider', 'github', '--app-id', '7', '--app-public-key', MAIN],
      /^--app-public-key .*: is no public key as PEM\n/,
    ],
    [
      'a webhook without a secret',
      ['--provider', 'github', '--webhook-url', 'http://x'],
      /belong together\n/,
    ],
    [
      'a webhook that is no URL',
      ['--provider', 'github', '--webhook-url', 'x', '--webhook-secret', 's'],
      /^--webhook-url x: is no URL\n/,
    ],
  ])('%s', async (_, args, message) => {
    const program = run(...args);
    expect(await program.exit).toBe(1);
    expect(program.output()).toMatch(message);
    expect(program.output()).not.toContain('    at ');
  });

  test('a port that is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const program = run('--provider', 'github', '--port', String((server.address() as AddressInfo).port));
    expect(await program.exit).toBe(1);
    expect(program.output()).toMatch(/^listen EADDRINUSE/);
    server.close();
  });
});
