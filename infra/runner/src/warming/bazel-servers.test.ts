import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { isAlive } from '../processes.ts';
import { bazelServers, endBazelServers } from './bazel-servers.ts';

const started: number[] = [];
afterEach(() => {
  for (const pid of started.splice(0)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  }
});

/** A process with a server's arguments. */
async function server(outputBase: string, program = ''): Promise<number> {
  const script = `${program};console.log('up');setInterval(()=>{},1000)`;
  const child = spawn(process.execPath, ['-e', script, '--', `--output_base=${outputBase}`]);
  await once(child.stdout, 'data');
  const { pid } = child;
  if (pid === undefined) throw new Error('no process');
  started.push(pid);
  return pid;
}

test.runIf(process.platform === 'linux')('ends the servers of the warm tree, and no other', async () => {
  const warm = `/warm/${process.pid}`;
  const [ours, deeper, other] = await Promise.all([
    server(`${warm}/base`),
    server(`${warm}/bazel/output/0123`),
    server(`${warm}-of-another/base`),
  ]);
  expect((await bazelServers(warm)).map(({ pid }) => pid).sort()).toEqual([ours, deeper].sort());
  await endBazelServers(warm);
  expect(await bazelServers(warm)).toEqual([]);
  expect(await isAlive(other)).toBe(true);
});

test.runIf(process.platform === 'linux')(
  'a server that ignores SIGTERM is killed, and fails the run',
  async () => {
    const warm = `/warm/${process.pid}/deaf`;
    const pid = await server(`${warm}/base`, "process.on('SIGTERM',()=>{})");
    await expect(endBazelServers(warm, 200)).rejects.toThrow(`Bazel server ${pid} in ${warm} did not end`);
    await expect.poll(() => isAlive(pid)).toBe(false);
  },
);

test('no server is no error', async () => {
  await endBazelServers('/no/such/warm/tree');
});
