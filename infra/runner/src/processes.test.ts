import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { identify, isAlive, isSameProcess, processes, signalProcess } from './processes.ts';

const child = () => spawn('sleep', ['60']);
let running: ReturnType<typeof child> | undefined;
afterEach(() => void running?.kill('SIGKILL'));

test.runIf(process.platform === 'linux')('a process with a reused pid gets no signal', async () => {
  running = child();
  await once(running, 'spawn');
  const pid = running.pid ?? 0;
  const reused = { pid, startTime: '1' };
  expect(await isSameProcess(reused)).toBe(false);
  expect(await signalProcess(reused, 'SIGKILL')).toBe(false);
  expect(await isAlive(pid)).toBe(true);
});

test('a process is signalled, and one that has ended is not there any more', async () => {
  running = child();
  await once(running, 'spawn');
  const identity = await identify(running.pid ?? 0);
  if (!identity) throw new Error('no process');
  const ended = once(running, 'exit');
  expect(await signalProcess(identity, 'SIGTERM')).toBe(true);
  await ended;
  expect(await signalProcess(identity, 'SIGKILL')).toBe(false);
  expect(await identify(identity.pid)).toBeUndefined();
});

test.runIf(process.platform === 'linux')('a process in the list has the identity of its pid', async () => {
  running = child();
  await once(running, 'spawn');
  const pid = running.pid ?? 0;
  await expect.poll(async () => (await processes()).find((one) => one.pid === pid)?.argv[0]).toBe('sleep');
  expect((await processes()).find((one) => one.pid === pid)).toMatchObject((await identify(pid)) ?? {});
});
