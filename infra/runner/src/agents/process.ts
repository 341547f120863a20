import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentProcess } from '../../../../scripts/local/runners/simulated-driver.ts';
import { startTime } from '../processes.ts';

/**
 * The agent's process, which outlives the program that started it: a restart of aw-runner must not end a job. It is found
 * again by its pid and the time at which it started, since pids are used again.
 */
export function agentProcess(directory: string): AgentProcess {
  const file = join(directory, 'agent.pid');

  async function isAlive(): Promise<boolean> {
    const saved = await readFile(file, 'utf8').catch(() => undefined);
    const [pid = '', started = ''] = saved?.split(' ') ?? [];
    return pid !== '' && (await startTime(Number(pid))) === started;
  }

  return {
    isAlive,
    async ensure(command, env) {
      if (await isAlive()) return;
      await mkdir(directory, { recursive: true });
      const log = openSync(join(directory, 'agent.log'), 'a');
      const [program = '', ...args] = command;
      const child = spawn(program, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } });
      await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
      child.unref();
      if (child.pid !== undefined)
        await writeFile(file, `${child.pid} ${(await startTime(child.pid)) ?? ''}`);
    },
  };
}
