import { stat } from 'node:fs/promises';
import { isMounted } from './mounts.ts';
import { type Directories, places as placesOf } from './places.ts';
import { readRestored } from './restored-state.ts';

/**
 * Whether the warm directory still is what a restore has made of it. A program that was only restarted must leave it alone:
 * a job may be working there, and the set's current snapshot may be another one by now.
 */
export async function isWarm(directories: Directories): Promise<boolean> {
  const places = placesOf(directories);
  const restored = await readRestored(places);
  if (!restored) return false;
  if (restored.mode === 'mounted') return isMounted(places.warm);
  return stat(places.warm).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
