/** Exports of the snapshot engine to the rest of aw-runner. */
export { cloneTree } from './job-tree.ts';
export { type Directories, WARM } from './paths.ts';
export { terminalProgress } from './progress.ts';
export { watchDisk } from './reserve.ts';
export { isWarm, type RestoreResult, restoreSnapshot } from './restore.ts';
export { type SaveFacts, type SaveResult, saveSnapshot } from './save.ts';
export { discardTree, isDiskTight, sweepJobTrees, treeProblem, warmTree } from './trees.ts';
export { inTree, warmPathsProblem } from './warm-paths.ts';
