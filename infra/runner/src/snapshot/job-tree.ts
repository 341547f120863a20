import { lazyJobTree } from './lazy/lazy-base.ts';
import { type Directories, snapshotPaths } from './paths.ts';
import { readRestored } from './restored-state.ts';
import { createTree, type Tree } from './trees.ts';
import { makePaths } from './warm-paths.ts';

/**
 * Makes a tree from the snapshot that was restored, or an empty one if none was, and mounts it. It takes about 20 ms whatever
 * its size. No tree of an earlier job is left.
 *
 * @throws if there is no room for one, or a lazy start has failed
 */
export async function cloneTree(directories: Directories): Promise<Tree> {
  const paths = await snapshotPaths(directories);
  const restored = await readRestored(paths);
  const lazy = restored?.mode === 'lazy' ? await lazyJobTree(paths, restored) : undefined;
  if (lazy) return lazy;
  const tree = await createTree(paths, restored?.snapshot?.id);
  await makePaths(tree.point, paths.warmPaths, 'leave', paths.owner);
  return tree;
}
