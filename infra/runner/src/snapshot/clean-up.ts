import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountAll } from './mounts.ts';
import { type Directories, type Paths, snapshotPaths } from './paths.ts';

/** Unmounts everything and removes what the engine keeps, the warm tree included: a machine that goes, or a test. */
export async function removeEverything(directories: Directories): Promise<void> {
  const paths = snapshotPaths(directories);
  await unmountAll(paths);
  for (const path of [paths.overlay, paths.warm, paths.layers, paths.restored]) {
    await rm(path, { recursive: true, force: true });
  }
}

/**
 * Removes what a crash or an earlier snapshot has left: layers, whole and half-fetched, that the present snapshot does not
 * name, and the half-packed file of a save that was killed. To be called while no save is under way.
 *
 * @param keep sha256 of the layers in use
 * @returns names of the layer files that were removed
 */
export async function removeUnused(paths: Paths, keep: ReadonlySet<string>): Promise<string[]> {
  await rm(paths.packed, { force: true });
  const names = await readdir(paths.layers).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const unused = names.filter((name) => {
    const [, sha256 = ''] = /^([0-9a-f]{64})\.(?:sqfs|part)$/.exec(name) ?? [];
    return sha256 !== '' && !keep.has(sha256);
  });
  for (const name of unused) await rm(join(paths.layers, name), { force: true });
  return unused;
}
