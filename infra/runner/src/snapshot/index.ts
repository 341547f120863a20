/** Exports of the snapshot engine to the rest of aw-runner. */
export { isWarm } from './is-warm.ts';
export { terminalProgress } from './progress.ts';
export { type RestoreResult, restoreSnapshot } from './restore.ts';
export { type SaveResult, saveSnapshot } from './save.ts';
