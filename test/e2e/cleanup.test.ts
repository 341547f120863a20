import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { startedFor } from '../../scripts/local/cleanup/clean.ts';
import { mountsBelow } from '../../scripts/local/cleanup/system.ts';
import { waitFor } from '../../scripts/local/demo/wait-for.ts';

/** Limit of a wait: it only ends what hangs. */
const patience = { seconds: 120 };

const root = resolve(import.meta.dirname, '../..');

type Held = {
  command: ChildProcess;
  folder: string;
  ministackPid: number;
  /** Standard error of the command. */
  stderr: Promise<string>;
  ended: Promise<[number | null, NodeJS.Signals | null]>;
};

let held: Held | undefined;
afterEach(() => held?.command.kill('SIGKILL'));

async function hold(): Promise<Held> {
  const command = spawn(process.execPath, ['test/e2e/programs/hold-cloud.ts'], { cwd: root });
  const stderr = text(command.stderr);
  const ended = once(command, 'exit').then(([code, signal]): [number | null, NodeJS.Signals | null] => [
    code,
    signal,
  ]);
  const [line] = await Promise.race([
    once(command.stdout, 'data'),
    stderr.then((message) => Promise.reject(new Error(`the command did not start: ${message}`))),
  ]);
  const started: Held = { command, stderr, ended, ...JSON.parse(String(line)) };
  held = started;
  // There is something to clean up: the emulator, its workers, the guard, a runner and its agent; as root, a mount.
  // The agent follows the instance in service.
  await waitFor('its processes', async () => (await startedFor(started.folder)).length >= 5, patience);
  if (process.platform === 'linux' && process.getuid?.() === 0) {
    expect(await mountsBelow(started.folder)).not.toEqual([]);
  }
  return started;
}

async function expectNothingLeft(folder: string): Promise<void> {
  await waitFor('the end of its processes', async () => (await startedFor(folder)).length === 0, patience);
  await waitFor('the removal of its folder', () => !existsSync(folder), patience);
  expect(await mountsBelow(folder)).toEqual([]);
}

test('kill -9 of MiniStack ends the command with a clear message and no leftovers', async () => {
  const { folder, ministackPid, stderr, ended } = await hold();
  expect(existsSync(folder)).toBe(true);
  process.kill(ministackPid, 'SIGKILL');
  expect(await ended).toEqual([1, null]);
  expect(await stderr).toContain('MiniStack died (SIGKILL)');
  await expectNothingLeft(folder);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s ends the command with exit code %i and no leftovers', async (signal, exitCode) => {
  const { command, folder, stderr, ended } = await hold();
  // Twice, as npm passes on what the terminal has sent already.
  command.kill(signal);
  command.kill(signal);
  expect(await ended).toEqual([exitCode, null]);
  expect(await stderr).toContain(`interrupted by ${signal}`);
  await expectNothingLeft(folder);
});

test('kill -9 of the command itself leaves nothing either', async () => {
  const { command, folder, ended } = await hold();
  command.kill('SIGKILL');
  expect(await ended).toEqual([null, 'SIGKILL']);
  await expectNothingLeft(folder);
});
