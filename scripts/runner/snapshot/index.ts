/** The snapshot engine, as the rest of aw-runner uses it. */
export { removeEverything, removeUnused } from './clean-up.ts';
export type { Directories } from './places.ts';
export { type Progress, silentProgress, terminalProgress } from './progress.ts';
export { type RestoreOptions, type RestoreResult, restoreSnapshot } from './restore.ts';
export { type SaveOptions, type SaveResult, saveSnapshot } from './save.ts';
