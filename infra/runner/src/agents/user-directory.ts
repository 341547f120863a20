import { mkdir } from 'node:fs/promises';
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
  try {
    await mkdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  await units.giveDirectory(path, user);
}
