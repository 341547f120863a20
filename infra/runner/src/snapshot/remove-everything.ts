import { rm } from 'node:fs/promises';
import { type Directories, snapshotPaths } from './paths.ts';
import { sweepTrees } from './trees.ts';

/** Unmounts everything and removes all files of the engine, the warm tree included. For tests. */
export async function removeEverything(directories: Directories): Promise<void> {
  const paths = await snapshotPaths(directories);
  const held: string[] = [];
  await sweepTrees(paths, undefined, (line) => held.push(line));
  if (held.length > 0) throw new Error(held.join('; '));
  for (const path of [paths.bases, paths.trees, paths.plain, paths.warmPlace, paths.restored]) {
    await rm(path, { recursive: true, force: true });
  }
}
