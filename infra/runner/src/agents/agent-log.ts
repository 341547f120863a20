import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Logs of ended agents that stay on the instance, and bytes of one that are read. */
const KEPT = 20;
const READ_BYTES = 65_536;

/** The outputs of the agents of one instance: one file per unit, which only root can read. */
export type AgentLogs = {
  file(unit: string): string;
  /** Makes the folder, and removes all but the newest files. */
  tidy(): Promise<void>;
  /** The end of an output; empty if there is none. It only adds detail: a job can write there. */
  tail(unit: string): Promise<string>;
};

/** @param state directory of the runner's state */
export function agentLogs(state: string): AgentLogs {
  const folder = join(state, 'agents');
  const file = (unit: string) => join(folder, `${unit}.log`);
  return {
    file,
    async tidy() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const number = (name: string) => Number(/-(\d+)\.log$/.exec(name)?.[1] ?? 0);
      const names = (await readdir(folder)).filter((name) => name.endsWith('.log'));
      const old = names.sort((one, other) => number(other) - number(one)).slice(KEPT);
      for (const name of old) await rm(join(folder, name), { force: true });
    },
    async tail(unit) {
      const handle = await open(file(unit)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (!handle) return '';
      try {
        const { size } = await handle.stat();
        const buffer = Buffer.alloc(Math.min(size, READ_BYTES));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, size - buffer.length);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await handle.close();
      }
    },
  };
}
