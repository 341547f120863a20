import { spawn } from 'node:child_process';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTime } from '../processes.ts';

/** The process of an agent: started, or found again after a restart of aw-runner. */
export interface AgentProcess {
  /** Starts the program unless it runs already. `env` is added to its environment. */
  ensure(command: readonly string[], env: Record<string, string>): Promise<void>;
  isAlive(): Promise<boolean>;
}

/**
 * The agent's process, which outlives the program that started it: a restart of aw-runner must not end a job. It is identified
 * by its pid and its start time, since the kernel reuses pids.
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
      const log = await open(join(directory, 'agent.log'), 'a');
      try {
        const [program = '', ...args] = command;
        const child = spawn(program, args, {
          stdio: ['ignore', log.fd, log.fd],
          env: { ...process.env, ...env },
        });
        await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
        child.unref();
        if (child.pid !== undefined)
          await writeFile(file, `${child.pid} ${(await startTime(child.pid)) ?? ''}`);
      } finally {
        // The agent has its own copy. An agent that crashes at once is started every few seconds.
        await log.close();
      }
    },
  };
}
