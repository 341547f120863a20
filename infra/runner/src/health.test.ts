import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { healthProblem, jobFinished, markUnhealthy } from './health.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-health-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test.each([36, 37])('Bazel exit %i marks the machine, for as long as it stands', async (code) => {
  expect(await jobFinished(directory, code)).toContain(String(code));
  expect(await healthProblem(directory, directory)).toContain(String(code));
  await jobFinished(directory, 0);
  expect(await healthProblem(directory, directory)).toContain(String(code));
});

test.each([0, 1, 3, 4, 8, 34, 35, 38, 130, Number.NaN])('exit %d is the job’s own affair', async (code) => {
  expect(await jobFinished(directory, code)).toBeUndefined();
  expect(await healthProblem(directory, directory)).toBeUndefined();
});

test('a mark can be the first thing that is ever written there', async () => {
  const state = join(directory, 'not', 'yet');
  await markUnhealthy(state, 'warming run failed');
  expect(await healthProblem(state, directory)).toBe('warming run failed');
});

test('a disk that is not there is an error to be logged, not a healthy one', async () => {
  await expect(healthProblem(directory, join(directory, 'gone'))).rejects.toThrow('ENOENT');
});
