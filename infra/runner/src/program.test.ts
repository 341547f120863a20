import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runnerConfig } from '../../../test/support/runner-config.ts';
import { systemdUnits } from './agents/systemd-units.ts';
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

const run = (...argv: string[]) => runProgram(argv, { agents: {}, units: systemdUnits });

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
      const command = ['job-finished', '--exit-code=37'];
      const argv = place === 'before' ? [...option, ...command] : [...command, ...option];
      expect(await run(...argv)).toBe(0);
      expect(existsSync(join(folder, 'state/unhealthy'))).toBe(true);
      rmSync(join(folder, 'state'), { recursive: true });
    }
  },
);

test('a configuration that is missing or names an unknown driver is exit code 2', async () => {
  expect(await run('run', `--config=${join(folder, 'none.json')}`)).toBe(2);
  expect(errors).toContain('none.json cannot be read');
});

test.runIf(process.getuid?.() === 0)('job-finished without root explains how to call it', async () => {
  chmodSync(config, 0o600);
  process.seteuid?.(65_534);
  try {
    expect(await run('job-finished', '--exit-code', '36', '--config', config)).toBe(1);
  } finally {
    process.seteuid?.(0);
  }
  expect(errors).toContain('job-finished needs root');
  expect(errors).toMatch(/sudo \S+ job-finished --exit-code 36/);
});
