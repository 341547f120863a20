import { stat } from 'node:fs/promises';
import { isMounted } from './mounts.ts';
import { type Directories, snapshotPaths } from './paths.ts';
import { readRestored } from './restored-state.ts';

/**
 * Whether the warm directory still has the tree of a restore. After a restart of the program alone it must not be restored
 * again: a job may use it, and the set's current snapshot may be another one.
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
