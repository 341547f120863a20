/** Exports of the snapshot engine to the rest of aw-runner. */
export { terminalProgress } from './progress.ts';
export { isWarm, type RestoreResult, restoreSnapshot } from './restore.ts';
export { type SaveResult, saveSnapshot } from './save.ts';
