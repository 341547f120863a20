import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
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
  run = { user: userInfo().username, env: {}, signal: new AbortController().signal, log };
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
    warmCommand(
      ['--directory', folder, '--program', program, '--user', run.user, ...args],
      config,
      run.signal,
      run.log,
    );
  expect(await command('//one', '//two')).toBe(0);
  expect(calls()[0]).toMatch(/--nobuild .* -- \/\/one \/\/two$/);
  expect(await command('//broken')).toBe(1);
  expect(lines.at(-1)).toBe(`warm-bazel failed: Error: ${program} ended with 3`);
  expect(await command('--user', 'no-such-user')).toBe(1);
  expect(lines.at(-1)).toBe('warm-bazel failed: Error: there is no user no-such-user');
});
