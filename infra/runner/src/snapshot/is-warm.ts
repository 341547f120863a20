import { stat } from 'node:fs/promises';
import { isMounted } from './mounts.ts';
import { type Directories, snapshotPaths } from './paths.ts';
import { readRestored } from './restored-state.ts';

/**
 * Whether the warm directory still is what a restore has made of it. A program that was only restarted must leave it alone:
 * a job may be working there, and the set's current snapshot may be another one by now.
 */
export async function isWarm(directories: Directories): Promise<boolean> {
  const paths = snapshotPaths(directories);
  const restored = await readRestored(paths);
  if (!restored) return false;
  if (restored.mode === 'mounted') return isMounted(paths.warm);
  return stat(paths.warm).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
