import { mkdir, rename, stat } from 'node:fs/promises';
import type { AgentUnits } from './units.ts';

/**
 * Makes a directory of the user of jobs. One that exists stays as it is: jobs may have written there. Its parent belongs to root.
 *
 * @throws if it is missing and cannot be made
 */
export async function userDirectory(
  units: Pick<AgentUnits, 'giveDirectory'>,
  path: string,
  user: string,
): Promise<void> {
  const exists = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (exists) return;
  // It gets its name when it belongs to the user. One that a killed aw-runner has left is used.
  const fresh = `${path}.new`;
  await mkdir(fresh, { recursive: true });
  await units.giveDirectory(fresh, user);
  await rename(fresh, path);
}
