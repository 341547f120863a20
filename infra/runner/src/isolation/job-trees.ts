import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cloneTree,
  type Directories,
  discardTree,
  isDiskTight,
  sweepJobTrees,
  treeProblem,
  WARM,
  warmTree,
  watchDisk,
} from '../snapshot/index.ts';
import type { JobTrees } from './job-places.ts';

/** The trees of jobs as clones of the snapshot that is restored on this instance, or empty ones. */
export function jobTrees(directories: Directories, log: (line: string) => void): JobTrees {
  /** Undefined: not known to this aw-runner, as after a restart beside a running job. */
  let isTight: boolean | undefined;
  return {
    async clone() {
      // One job at a time: every other tree is what a killed program has left.
      await sweepJobTrees(directories, log);
      const tree = await cloneTree(directories);
      // As in /tmp: jobs start with an empty directory on a cold instance. That of a snapshot is as the warming run left it.
      await chmod(join(tree.point, WARM), 0o1777);
      if (tree.isTight && !isTight)
        log('the disk has no room for all that a job may overwrite: it is watched');
      isTight = tree.isTight;
      return { name: tree.name };
    },
    point: (name) => join(directories.images, 'trees', name),
    async isTight() {
      isTight ??= await isDiskTight(directories);
      return isTight;
    },
    watchDisk: (cgroup, signal) => watchDisk(directories.images, cgroup, signal),
    problem: (name) => treeProblem(directories, name),
    discard: (name) => discardTree(directories, name),
  };
}

/** The tree of a warming run: the one that the restore has bound to the warm directory. It stays, since it is saved after the run. */
export function treeOfRun(directories: Directories, log: (line: string) => void): JobTrees {
  return {
    ...jobTrees(directories, log),
    async clone() {
      const name = await warmTree(directories);
      if (name === undefined) throw new Error('the warm directory shows no tree');
      return { name };
    },
    async discard() {},
  };
}
