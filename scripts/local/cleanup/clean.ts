import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupOf, removeCgroup } from './cgroups.ts';
import { spawnText } from './spawn-text.ts';
import { mountsBelow, type RunningProcess, runningProcesses } from './system.ts';

/** How long a process may take to be gone after SIGKILL, in milliseconds. */
const GONE_MS = 60_000;

/**
 * Ends every process that was started for a run, unmounts what is mounted below its folder and removes the folder.
 * Everything that a cloud starts has the run's folder in its command line or in its environment, so nothing has to be
 * written down for this: it works after a SIGKILL too, and an unrelated process that got a pid again cannot be hit.
 *
 * @param folder of the run or of one instance in it, absolute
 * @param spare processes that go on: the caller itself
 */
export async function cleanRun(folder: string, spare: readonly number[] = [process.pid]): Promise<void> {
  const cgroup = await cgroupOf(folder);
  if (cgroup !== undefined) await removeCgroup(cgroup);
  await killAll(folder, spare);
  for (const point of await mountsBelow(folder)) await unmount(folder, point);
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

async function unmount(folder: string, point: string): Promise<void> {
  try {
    await spawnText('umount', ['--lazy', point]);
  } catch (error) {
    // Two may clean up after the same run: the guard of a dead cloud, and the next start.
    if ((await mountsBelow(folder)).includes(point)) throw error;
  }
}

async function killAll(folder: string, spare: readonly number[]): Promise<void> {
  const end = performance.now() + GONE_MS;
  for (;;) {
    const left = (await startedFor(folder)).filter(({ pid }) => !spare.includes(pid));
    if (left.length === 0) return;
    if (performance.now() > end) {
      throw new Error(
        `still running below ${folder}: ${left.map(({ pid, command }) => `${pid} ${command}`)}`,
      );
    }
    for (const { pid } of left) kill(pid);
    await sleep(20);
  }
}

/**
 * Processes with the run's folder in their command line, or in the environment that they got from one that has, and the processes
 * of their process groups: not every system shows the environment.
 */
export async function startedFor(folder: string): Promise<RunningProcess[]> {
  const all = await runningProcesses();
  const own = all.filter(
    ({ command, run }) => command.includes(`${folder}/`) || run?.startsWith(`${folder}/`),
  );
  const leaders = new Set(own.filter(({ pid, group }) => pid === group).map(({ pid }) => pid));
  return all.filter((one) => own.includes(one) || leaders.has(one.group));
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // ESRCH: the process has ended already.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
