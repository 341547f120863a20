import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runnerConfig } from '../../../../test/support/runner-config.ts';
import { parseConfig } from '../config.ts';
import { warmCommand } from '../warming/cli.ts';
import { SNAPSHOT_USAGE, snapshotCommand } from './cli.ts';

let folder: string;
let errors: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-snapshot-cli-'));
  errors = [];
  vi.spyOn(console, 'error').mockImplementation((line: string) => void errors.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

function config() {
  return parseConfig(runnerConfig(folder, { warmingSet: 'default' }), 'test');
}

test('an unknown flag is wrong usage, and is named in one line above the usage', async () => {
  expect(await snapshotCommand(['save', '--bogus'], config(), '0')).toBe(2);
  const [message = ''] = errors;
  expect(message.split('\n')[0]).toContain('--bogus');
  expect(message).toContain(SNAPSHOT_USAGE);
});

test('an unknown flag of warm-bazel is wrong usage too', async () => {
  const { signal } = new AbortController();
  expect(await warmCommand(['--bogus'], config(), signal, () => {})).toBe(2);
  expect(errors[0]).toContain('--bogus');
});

test('a save that fails prints its reason in one line, and exits with 1', async () => {
  // A file is in the place of the directory of the warm tree's changes.
  mkdirSync(join(folder, 'warm'));
  writeFileSync(join(folder, 'warm', 'file'), 'x');
  writeFileSync(join(folder, 'warm.overlay'), 'x');
  expect(await snapshotCommand(['save'], config(), '0')).toBe(1);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(/^snapshot save failed: [^\n]+$/);
});

test('a save that is stopped ends with the reason', async () => {
  mkdirSync(join(folder, 'warm'));
  writeFileSync(join(folder, 'warm', 'file'), 'x');
  const stopped = AbortSignal.abort(new Error('the program stops'));
  expect(await snapshotCommand(['save'], config(), '0', stopped)).toBe(1);
  expect(errors).toEqual(['snapshot save failed: Error: the program stops']);
});

test.each([[], ['../manifest']])('diff needs the id of a snapshot, and %j is none', async (...ids) => {
  expect(await snapshotCommand(['diff', ...ids], config(), '0')).toBe(2);
  expect(errors[0]).toContain('diff needs the id of a snapshot');
});

test('a path that cannot be warm is named', async () => {
  await expect(snapshotCommand(['save', '--path', '/a/b', '--path', '/a'], config(), '0')).resolves.toBe(1);
  expect(errors[0]).toContain('/a/b is inside /a: name /a alone');
});
