import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseBazelWarming, parseConfig } from '../config.ts';
import { warmCommand } from './cli.ts';
import type { RunPrograms } from './run-program.ts';
import { warmBazel } from './warm-bazel.ts';

let folder: string;
let lines: string[];
let run: RunPrograms;
const warm = '/mnt/ephemeral/aw/warm';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-warm-bazel-'));
  lines = [];
  const log = (line: string) => void lines.push(line);
  run = { state: join(folder, 'state'), user: undefined, env: {}, signal: new AbortController().signal, log };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Records its calls, and fails on one command. */
function fakeBazel(failsOn = 'nothing'): string {
  const program = join(folder, 'bazel');
  const text = `#!/bin/sh\necho "$PWD: $*" >>${folder}/calls\ncase "$*" in *${failsOn}*) exit 3;; esac\n`;
  writeFileSync(program, text);
  chmodSync(program, 0o755);
  return program;
}
const calls = () => readFileSync(join(folder, 'calls'), 'utf8').trimEnd().split('\n');
const settings = (change: object, program = fakeBazel()) =>
  parseBazelWarming({ directory: folder, program, ...change });

test('fetches and analyses with the caches in the warm directory, and shuts the server down', async () => {
  await warmBazel(settings({}), warm, run);
  expect(calls()).toEqual([
    `${folder}: --output_user_root=${warm}/bazel/output build --nobuild --repository_cache=${warm}/bazel/repository-cache --disk_cache=${warm}/bazel/disk-cache -- //...`,
    `${folder}: --output_user_root=${warm}/bazel/output shutdown`,
  ]);
});

test('builds with `build`', async () => {
  await warmBazel(settings({ build: true, targets: ['//app', '-//app/slow'] }), warm, run);
  expect(calls()[0]).not.toContain('--nobuild');
  expect(calls()[0]).toMatch(/ -- \/\/app -\/\/app\/slow$/);
});

test('the error is that of a failed build, after the server was shut down', async () => {
  const program = fakeBazel('build');
  await expect(warmBazel(settings({}, program), warm, run)).rejects.toThrow(`${program} ended with 3`);
  expect(calls()[1]).toContain('shutdown');
});

test('a server that cannot be shut down fails the run', async () => {
  const program = fakeBazel('shutdown');
  await expect(warmBazel(settings({}, program), warm, run)).rejects.toThrow('ended with 3');
});

test('a Bazel that is not there is named', async () => {
  await expect(warmBazel(settings({ program: '/no/bazel' }), warm, run)).rejects.toThrow(
    '/no/bazel did not run',
  );
});

test('checks a ref out, first and again', async () => {
  const origin = join(folder, 'origin');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=n', '-c', 'user.email=e@example.com', ...args], { cwd: origin });
  mkdirSync(origin);
  git('init', '-q', '-b', 'main');
  const commit = (text: string) => {
    writeFileSync(join(origin, 'file'), text);
    git('add', '.');
    git('commit', '-qm', text);
  };
  const directory = join(folder, 'checkout');
  const bazel = settings({ directory, git: { url: `file://${origin}`, ref: 'main' } });
  commit('one');
  await warmBazel(bazel, warm, run);
  expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('one');
  commit('two');
  writeFileSync(join(directory, 'file'), 'of the run before');
  await warmBazel(bazel, warm, run);
  expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('two');
  // Files that a build has left beside the sources are not deleted.
  await expect(warmBazel({ ...bazel, git: { url: folder, ref: 'main' } }, warm, run)).rejects.toThrow(
    'git ended',
  );
  expect(existsSync(join(directory, 'file'))).toBe(true);
});

test.runIf(process.getuid?.() === 0)('the user owns the checkout, whose parents are of root', async () => {
  chmodSync(folder, 0o755);
  const parent = join(folder, 'work');
  const directory = join(parent, 'monorepo');
  const user = Number(execFileSync('id', ['-u', 'nobody']));
  const bazel = settings({ directory, git: { url: join(folder, 'none'), ref: 'main' } });
  // Nothing can be fetched: the checkout is made before.
  await expect(warmBazel(bazel, warm, { ...run, user: 'nobody' })).rejects.toThrow('git ended with 128');
  expect([parent, directory, join(directory, '.git')].map((path) => statSync(path).uid)).toEqual([
    0,
    user,
    user,
  ]);
});

test('a url that git would take for an option is refused', () => {
  expect(() => settings({ git: { url: '--upload-pack=x' } })).toThrow('git.url');
});

test('the command line has the options of the configuration', async () => {
  const config = parseConfig(
    JSON.stringify({
      version: 1,
      region: 'us-east-1',
      bucket: 'b',
      reportsUrl: 'https://sqs.example.com/q',
      group: 'gha/warm',
      autoScalingGroup: 'aw-gha-warm',
      directories: { images: '/l', warm, state: join(folder, 'state') },
      agent: { driver: 'gha' },
    }),
    'test',
  );
  const program = fakeBazel('broken');
  const command = (...args: string[]) =>
    warmCommand(['--directory', folder, '--program', program, ...args], config, run.signal, run.log);
  expect(await command('//one', '//two')).toBe(0);
  expect(calls()[0]).toMatch(/--nobuild .* -- \/\/one \/\/two$/);
  expect(await command('//broken')).toBe(1);
  expect(lines.at(-1)).toBe(`warm-bazel failed: Error: ${program} ended with 3`);
  expect(await command('--user', 'no-such-user')).toBe(1);
  expect(lines.at(-1)).toBe('warm-bazel failed: Error: there is no user no-such-user');
});
