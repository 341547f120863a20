import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentProcess } from './process.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-agent-'));
});
afterEach(() => {
  const pid = pidOf();
  if (pid > 1) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It had ended.
    }
  }
  rmSync(directory, { recursive: true });
});

const sleeping = ['sleep', '60'];

function pidOf(): number {
  try {
    return Number(readFileSync(join(directory, 'agent.pid'), 'utf8').split(' ')[0]);
  } catch {
    return 0;
  }
}

test('is started once, and found again by the next program', async () => {
  await agentProcess(directory).ensure(sleeping, {});
  const pid = pidOf();
  const next = agentProcess(directory);
  expect(await next.isAlive()).toBe(true);
  await next.ensure(sleeping, {});
  expect(pidOf()).toBe(pid);
});

test('is started again when it has died', async () => {
  const agent = agentProcess(directory);
  await agent.ensure(['true'], {});
  const pid = pidOf();
  while (await agent.isAlive()) await new Promise((resolve) => setTimeout(resolve, 5));
  await agent.ensure(sleeping, {});
  expect(pidOf()).not.toBe(pid);
  expect(await agent.isAlive()).toBe(true);
});

test('another process with the same pid is not the agent', async () => {
  writeFileSync(join(directory, 'agent.pid'), `${process.pid} 1`);
  expect(await agentProcess(directory).isAlive()).toBe(false);
  rmSync(join(directory, 'agent.pid'));
});

test('a missing program is an error that names it', async () => {
  await expect(agentProcess(directory).ensure(['/no/such/agent'], {})).rejects.toThrow('/no/such/agent');
});

test('gets its settings from the environment, and its output is kept', async () => {
  const agent = agentProcess(directory);
  await agent.ensure(['sh', '-c', 'echo "queue $QUEUE"'], { QUEUE: 'default' });
  while (await agent.isAlive()) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(readFileSync(join(directory, 'agent.log'), 'utf8')).toBe('queue default\n');
});

test.runIf(process.platform === 'linux')('many starts leave no file open', async () => {
  const agent = agentProcess(directory);
  const openFiles = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).endsWith('/agent.log');
      } catch {
        return false;
      }
    });
  for (let count = 0; count < 5; count += 1) {
    await agent.ensure(['true'], {});
    while (await agent.isAlive()) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await expect(agent.ensure(['/no/such/agent'], {})).rejects.toThrow('ENOENT');
  expect(openFiles()).toEqual([]);
});
