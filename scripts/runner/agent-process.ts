import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentProcess } from '../../shared/hosts/simulated.ts';

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

/** Field 22 of `/proc/<pid>/stat`: clock ticks after boot (proc(5)). Undefined if there is no such process, or it is dead. */
async function startTime(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return isRunning(pid) ? 'unknown' : undefined;
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The second field is the program's name, which may hold anything, in parentheses.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}

/** Elsewhere than on Linux, where only laptops run this, the pid alone has to do. */
function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
