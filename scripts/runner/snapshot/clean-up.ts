import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountAll } from './mounts.ts';
import { type Directories, places as placesOf } from './places.ts';

/** Unmounts everything and removes what the engine keeps, the warm tree included: a machine that goes, or a test. */
export async function removeEverything(directories: Directories): Promise<void> {
  const places = placesOf(directories);
  await unmountAll(places);
  for (const path of [places.overlay, places.warm, places.layers, places.restored]) {
    await rm(path, { recursive: true, force: true });
  }
}

/**
 * Removes layers that the present snapshot does not name, and half-packed files of a save that was killed. Half-fetched
 * ones stay: the next restore goes on from there.
 *
 * @param keep sha256 of the layers in use
 */
export async function removeUnused(directories: Directories, keep: ReadonlySet<string>): Promise<string[]> {
  const places = placesOf(directories);
  await rm(places.packed, { force: true });
  const names = await readdir(places.layers).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const unused = names.filter((name) => name.endsWith('.sqfs') && !keep.has(name.slice(0, -'.sqfs'.length)));
  for (const name of unused) await rm(join(places.layers, name), { force: true });
  return unused;
}
