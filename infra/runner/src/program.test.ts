import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runnerConfig } from '../../../test/support/runner-config.ts';
import { systemdUnits } from './agents/systemd-units.ts';
import { systemdCacheUnit } from './cache/systemd-cache-unit.ts';
import { instanceKernel } from './isolation/job-places.ts';
import { startJobSocket } from './job-socket.ts';
import { runProgram } from './program.ts';

let folder: string;
let config: string;
let errors: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-program-'));
  config = join(folder, 'config.json');
  writeFileSync(config, runnerConfig(folder));
  errors = '';
  vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation((text: unknown) => {
    errors += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const run = (...argv: string[]) =>
  runProgram(argv, { agents: {}, units: systemdUnits, cacheUnit: systemdCacheUnit, kernel: instanceKernel });

describe('wrong usage is exit code 2 with the usage text', () => {
  test.each([
    [['snapshot', 'save', '--bogus']],
    [['warm-bazel', '--bogus']],
    [['warm-bazel', '--user']],
    [['run', '--bogus']],
    [['boot', 'now']],
    [['version', 'x']],
    [['--bogus']],
    [['reboot']],
    [['job-finished']],
    [['job-finished', '--exit-code', 'thirtysix']],
    [['job-finished', '--exit-code=']],
    [['job-finished', '--exit-code', '-1']],
    [['job-finished', '--exit-code', '256']],
    [['job-finished', '--exit-code', '36', 'x']],
  ])('%j', async (argv) => {
    expect(await run(...argv, '--config', config)).toBe(2);
    expect(errors).toContain('usage: aw-runner');
    expect(existsSync(join(folder, 'state'))).toBe(false);
  });

  test.each([[['--config']], [['--config=', 'version']], [['--config', '--help']]])('%j', async (argv) => {
    expect(await run(...argv)).toBe(2);
    expect(errors).toContain('--config needs a file');
  });
});

test.each(['before', 'after'])(
  '--config=FILE and --config FILE are accepted %s every command',
  async (place) => {
    for (const option of [[`--config=${config}`], ['--config', config]]) {
      const command = ['snapshot', 'list'];
      expect(await run(...(place === 'before' ? [...option, ...command] : [...command, ...option]))).toBe(2);
      expect(errors).toContain('no warming set');
      expect(errors).not.toContain('cannot be read');
    }
  },
);

describe('through sudo', () => {
  beforeEach(() => vi.stubEnv('SUDO_UID', '1000'));
  afterEach(() => vi.unstubAllEnvs());

  test.each([
    [['run', '--config', 'mine.json']],
    [['--config=mine.json', 'snapshot', 'verify']],
    [['warm-bazel', '--directory', '/w', '--program', '/tmp/evil']],
    [['warm-bazel', '--program=/tmp/evil']],
  ])('no option names a file to trust or to run as root: %j', async (argv) => {
    expect(await run(...argv)).toBe(2);
    expect(errors).toMatch(/--(config|program) is not accepted through sudo/);
  });

  test('other commands work', async () => {
    expect(await run('version')).toBe(0);
  });
});

test('a configuration that is missing or names an unknown driver is exit code 2', async () => {
  expect(await run('run', `--config=${join(folder, 'none.json')}`)).toBe(2);
  expect(errors).toContain('none.json cannot be read');
});

describe('job-finished', () => {
  afterEach(() => vi.unstubAllEnvs());

  test('sends its exit code to aw-runner, and prints the answer', async () => {
    const path = join(folder, 'job.sock');
    const finished = vi.fn(async () => 'unhealthy: Bazel exit 37');
    const socket = await startJobSocket({ path, user: 'nobody', finished, log: () => {} });
    vi.stubEnv('HEARTH_JOB_SOCKET', path);
    expect(await run('job-finished', '--exit-code', '37')).toBe(0);
    expect(finished).toHaveBeenCalledWith(37);
    expect(console.log).toHaveBeenCalledWith('unhealthy: Bazel exit 37');
    socket.close();
  });

  test('without aw-runner it fails with the reason', async () => {
    vi.stubEnv('HEARTH_JOB_SOCKET', join(folder, 'none.sock'));
    expect(await run('job-finished', '--exit-code', '1')).toBe(1);
    expect(errors).toContain('job-finished: Error: connect ENOENT');
  });
});
