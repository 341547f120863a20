import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountAll } from './mounts.ts';
import { type Directories, type Paths, snapshotPaths } from './paths.ts';

/** Unmounts everything and removes all files of the engine, the warm tree included. For tests. */
export async function removeEverything(directories: Directories): Promise<void> {
  const paths = snapshotPaths(directories);
  await unmountAll(paths);
  for (const path of [paths.overlay, paths.warm, paths.layers, paths.restored]) {
    await rm(path, { recursive: true, force: true });
  }
}

/**
 * Removes what a crash or an earlier snapshot has left: complete and partial layers that the present snapshot does not name,
 * a tree that is half extracted, and the partial file of a save that was killed. Must not run during a save.
 *
 * @param keep sha256 of the layers in use
 * @returns names of the layer files that were removed
 */
export async function removeUnused(paths: Paths, keep: ReadonlySet<string>): Promise<string[]> {
  await rm(paths.packed, { force: true });
  await rm(paths.extracting, { recursive: true, force: true });
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
