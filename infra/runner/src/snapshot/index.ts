/** The snapshot engine, as the rest of aw-runner uses it. */
export { isWarm } from './is-warm.ts';
export { terminalProgress } from './progress.ts';
export { type RestoreResult, restoreSnapshot } from './restore.ts';
export { type SaveResult, saveSnapshot } from './save.ts';
