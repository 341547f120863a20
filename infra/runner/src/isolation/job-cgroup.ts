import { existsSync } from 'node:fs';
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Processes of a cgroup are still alive after it was killed. */
export class CgroupNotEmpty extends Error {
  override readonly name = 'CgroupNotEmpty';
}

/**
 * Ends every process of a cgroup and of its descendants, and returns when the kernel reports it empty. The kill is one
 * operation of the kernel (`cgroup.kill`, Linux 5.14), so a job cannot outrun it with new processes.
 *
 * @param cgroup its directory in the hierarchy of version 2; nothing to do if it does not exist
 * @throws {CgroupNotEmpty} after `limitMs`, naming the processes; for example one that waits for a disk
 */
export async function emptyCgroup(cgroup: string, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (existsSync(cgroup)) {
    try {
      await writeFile(join(cgroup, 'cgroup.kill'), '1');
      if (!(await isPopulated(cgroup))) return await removeDescendants(cgroup);
    } catch (error) {
      // systemd removes the directory of a unit that has ended. EBUSY: the directory of a process that is about to be gone.
      if (!isGone(error)) throw error;
    }
    if (performance.now() > deadline) {
      throw new CgroupNotEmpty(`processes of ${cgroup} are alive after a kill: ${await processes(cgroup)}`);
    }
    await sleep(5);
  }
}

/** Whether a process of the cgroup or of a descendant is alive. */
export async function isPopulated(cgroup: string): Promise<boolean> {
  return /^populated 1$/m.test(await readFile(join(cgroup, 'cgroup.events'), 'utf8'));
}

/** Cgroups of the job's containers. They would count against the limits of the next job. */
async function removeDescendants(cgroup: string): Promise<void> {
  const entries = await readdir(cgroup, { withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const path = join(cgroup, entry.name);
    await removeDescendants(path);
    await rmdir(path);
  }
}

async function processes(cgroup: string): Promise<string> {
  const ids = (await readFile(join(cgroup, 'cgroup.procs'), 'utf8').catch(() => ''))
    .split('\n')
    .filter(Boolean);
  const names = ids.map(async (id) => {
    const name = await readFile(`/proc/${id}/comm`, 'utf8').catch(() => 'ended');
    return `${id} (${name.trim()})`;
  });
  return (await Promise.all(names)).join(', ') || 'in a descendant';
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV', 'EBUSY'].includes(String((error as NodeJS.ErrnoException).code));
}
