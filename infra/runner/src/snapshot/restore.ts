import { access, rm } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { RestoreOutcome } from '../../../../shared/fleet/report.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { CorruptRecord, UnsupportedFormat } from '../../../../shared/snapshot/errors.ts';
import { BrokenFrame, type FramePlace } from '../../../../shared/snapshot/frame.ts';
import type { Vouched } from '../../../../shared/snapshot/pointer.ts';
import { readPointer } from '../../../../shared/snapshot/records.ts';
import { s3Store } from '../../../../shared/snapshot/store.ts';
import { raceAbort } from '../abortable.ts';
import { ensureBase, type FetchOptions, removeBase, sweepBases, Unusable } from './base.ts';
import { BadImage, isCleanImage } from './image.ts';
import { type LazyBaseOptions, obtainLazily } from './lazy/lazy-base.ts';
import { LazyStartFailed, lazyHealth, removeLazyImage } from './lazy/lazy-image.ts';
import { lockFile } from './lock.ts';
import { isMounted, TreeHeld, unmountImage } from './mounts.ts';
import { type Directories, type Paths, snapshotPaths } from './paths.ts';
import { patiently } from './patience.ts';
import { emptyPlain, extractImage, linkPaths, NeedsRoot } from './plain.ts';
import { type Progress, silentProgress } from './progress.ts';
import { forgetRestored, type Restored, readRestored, writeRestored } from './restored-state.ts';
import {
  bindWarm,
  createTree,
  isBound,
  openTree,
  sweepTrees,
  type Tree,
  tryTree,
  whyNoTrees,
} from './trees.ts';
import { makePaths } from './warm-paths.ts';

/** Time for which a restore repeats calls that fail, in milliseconds, unless its signal ends it earlier. */
const PATIENCE_MS = 600_000;

export type RestoreOptions = {
  s3: Pick<S3Client, 'send'>;
  bucket: string;
  /** Undefined: the runner group has no warming set. */
  set: string | undefined;
  directories: Directories;
  /**
   * For a warming run: one run in this number starts with an empty tree, so that what one run has left behind does not live for ever
   * in the snapshots after it. 0, or absent: none does.
   */
  rebuild?: number;
  /** Each job gets a clone of its own (`cloneTree`), so none is made here and the warm directory stays empty. Default: false. */
  perJob?: boolean;
  /** Settings of lazy starts, which `directories.lazy` switches on for `perJob`. */
  lazy?: Pick<LazyBaseOptions, 'region' | 'program' | 'seconds'>;
  progress?: Progress;
  /** Ends the download: the restore is cold then. A mount that has begun is completed. */
  signal?: AbortSignal;
  /** Receives one line per problem that does not fail the restore. */
  warn?: (line: string) => void;
};

/** The result of a restore. */
export type RestoreResult = {
  outcome: RestoreOutcome;
  /** The restored snapshot. */
  id?: string;
  /** The current snapshot, if it could not be restored. The function `warming` verifies it. */
  broken?: { id: string; reason: string; frame?: FramePlace };
  /** Downloaded bytes. */
  fetchedBytes: number;
  seconds: number;
};

/**
 * Brings the image of the set's current snapshot onto the disk; if it is broken or has no room, that of a previous one; and binds
 * a clone of it to the warm directory, or an empty tree. An error of S3 or of a snapshot never fails a restore: a cold runner is
 * better than none. Another restore of this instance is waited for.
 */
export async function restoreSnapshot(options: RestoreOptions): Promise<RestoreResult> {
  const began = performance.now();
  const paths = await snapshotPaths(options.directories);
  const warn = options.warn ?? (() => {});
  const lock = await lockFile(paths.restoreLock, {
    wait: true,
    ...(options.signal && { signal: options.signal }),
  }).catch((error: unknown) => warn(`no lock for the restore: ${errorText(error)}`));
  try {
    const result = await restoreInto(paths, options, warn);
    return { ...result, seconds: (performance.now() - began) / 1000 };
  } finally {
    await lock?.release();
  }
}

type Attempt = Omit<RestoreResult, 'seconds'>;

async function restoreInto(
  paths: Paths,
  options: RestoreOptions,
  warn: (line: string) => void,
): Promise<Attempt> {
  for (const line of paths.refusedPaths) warn(line);
  const noTrees = await whyNoTrees(paths);
  if (noTrees !== undefined) warn(`the warm directory is a copy: ${noTrees}`);
  const show = noTrees !== undefined ? showCopy : options.perJob ? keepImage : showTree;
  const { set } = options;
  if (set === undefined) {
    await show(paths, '', null, warn);
    return { outcome: 'none', fetchedBytes: 0 };
  }
  const context: FetchOptions = {
    s3: options.s3,
    bucket: options.bucket,
    set,
    canClone: noTrees === undefined,
    progress: options.progress ?? silentProgress,
    patience: {
      until: performance.now() + PATIENCE_MS,
      ...(options.signal && { signal: options.signal }),
    },
  };
  const { lazy } = paths;
  if (lazy !== undefined) await removeLazyImage(lazy);
  const complete: Obtain = async (wanted) => ({
    fetchedBytes: await ensureBase(paths, wanted, context),
    isServed: false,
  });
  const served: Obtain = (wanted) =>
    obtainLazily(paths, wanted, { ...context, ...options.lazy, directory: lazy ?? '' });
  const obtain = show === keepImage && lazy !== undefined ? served : complete;
  const tried = await tryCandidates(paths, context, { obtain, show }, options.rebuild ?? 0, warn);
  if (tried.outcome === 'restored' || tried.outcome === 'previous') return tried;
  await show(paths, set, null, warn);
  return tried;
}

/** Brings a snapshot onto this instance: its complete image, or one that is served while it is fetched. */
type Obtain = (wanted: Vouched) => Promise<{ fetchedBytes: number; isServed: boolean }>;

/** Makes the warm directory show a snapshot whose image is complete, or nothing. */
type Show = (
  paths: Paths,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
  signal?: AbortSignal,
) => Promise<void>;

async function tryCandidates(
  paths: Paths,
  context: FetchOptions,
  { obtain, show }: { obtain: Obtain; show: Show },
  rebuild: number,
  warn: (line: string) => void,
): Promise<Attempt> {
  const { set } = context;
  const { signal } = context.patience;
  let broken: Attempt['broken'];
  const cold = (): Attempt => ({ outcome: 'cold', ...(broken && { broken }), fetchedBytes: 0 });
  let candidates: Vouched[];
  let current: string | undefined;
  try {
    const store = s3Store(context.s3, context.bucket);
    const stored = await patiently(context.patience, () => raceAbort(signal, readPointer(store, set)));
    current = stored?.pointer.current?.id;
    // Only `warming` writes the pointer: a run cannot prolong the life of its snapshots.
    const runs = (stored?.pointer.current?.generation ?? 0) + 1;
    if (rebuild > 0 && current !== undefined && runs >= rebuild) {
      warn(`this run starts with an empty tree, as one run in ${rebuild} does`);
      return { outcome: 'none', fetchedBytes: 0 };
    }
    candidates = stored ? [stored.pointer.current ?? [], stored.pointer.previous].flat() : [];
  } catch (error) {
    warn(`no snapshot could be restored: ${errorText(error)}`);
    return cold();
  }
  if (candidates.length === 0) warn(`set ${set} has no snapshot yet`);
  for (const candidate of candidates) {
    const { id } = candidate;
    try {
      const { fetchedBytes, isServed } = await obtain(candidate);
      await (isServed ? keepServed : show)(paths, set, candidate, warn, signal);
      return {
        outcome: id === current ? 'restored' : 'previous',
        id,
        ...(broken && { broken }),
        fetchedBytes,
      };
    } catch (error) {
      if (paths.lazy !== undefined) await removeLazyImage(paths.lazy);
      if (signal?.aborted) {
        warn(`no snapshot could be restored: ${errorText(signal.reason)}`);
        return cold();
      }
      if (error instanceof Unusable || error instanceof UnsupportedFormat || error instanceof NeedsRoot) {
        warn(`snapshot ${id} is not for this instance: ${error.message}`);
        continue;
      }
      if (isBroken(error)) {
        warn(`snapshot ${id} is broken: ${error.message}`);
        // Only the first broken one is reported. The others are verified when they become current.
        const frame = error instanceof BrokenFrame ? error.place : undefined;
        broken ??= { id, reason: error.message.slice(0, 1000), ...(frame && { frame }) };
      } else {
        warn(`snapshot ${id} could not be restored: ${errorText(error)}`);
      }
      // What was fetched would only stand in the way of the next one, and of the jobs.
      await removeBase(paths, id).catch((late: unknown) =>
        warn(`snapshot ${id} stays on the disk: ${errorText(late)}`),
      );
    }
  }
  return cold();
}

/** Whether the snapshot in S3 is not what its index names, or is no image that jobs can use. */
function isBroken(error: unknown): error is Error {
  if (error instanceof LazyStartFailed) return error.isBroken;
  return error instanceof CorruptRecord || error instanceof BrokenFrame || error instanceof BadImage;
}

/** Binds a tree of the snapshot to the warm directory: the one that is there, also after a reboot, or a new clone. */
async function showTree(
  paths: Paths,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
): Promise<void> {
  const before = await readRestored(paths);
  const kept = await keptTree(paths, before, set, snapshot, warn);
  if (!kept) await forgetRestored(paths);
  await sweepTrees(paths, kept?.name, warn);
  await sweepBases(paths, new Set(snapshot ? [snapshot.id] : []));
  const tree = kept ?? (await createTree(paths, snapshot?.id));
  await makePaths(tree.point, paths.warmPaths, 'copy', paths.owner);
  await bindWarm(paths, tree);
  await writeRestored(paths, { version: 2, set, mode: 'mounted', tree: tree.name, snapshot });
  if (tree.isTight) warn('the disk has no room for all that jobs may overwrite: it is watched');
}

/** Leaves the complete image on the disk, for the clones of jobs. Between a boot and the first job there is no tree. */
async function keepImage(
  paths: Paths,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
): Promise<void> {
  await forgetRestored(paths);
  await sweepTrees(paths, undefined, warn);
  await sweepBases(paths, new Set(snapshot ? [snapshot.id] : []));
  if (snapshot) await tryTree(paths, snapshot.id);
  await writeRestored(paths, { version: 2, set, mode: 'image', snapshot });
}

/** The same for an image that is served: the clones of jobs begin when it is complete. */
async function keepServed(
  paths: Paths,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
): Promise<void> {
  await forgetRestored(paths);
  await sweepTrees(paths, undefined, warn);
  await sweepBases(paths, new Set(snapshot ? [snapshot.id] : []));
  await writeRestored(paths, { version: 2, set, mode: 'lazy', snapshot });
}

/**
 * The tree of an earlier restore, if it is one of the same snapshot. One that was not unmounted properly, after a crash of the
 * kernel, is never used again.
 */
async function keptTree(
  paths: Paths,
  before: Restored | undefined,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
): Promise<Tree | undefined> {
  if (before?.mode !== 'mounted' || before.tree === undefined || before.set !== set) return undefined;
  if (before.snapshot?.manifestSha256 !== snapshot?.manifestSha256) return undefined;
  const [image, point] = [paths.tree(before.tree), paths.treeMount(before.tree)];
  if (await isMounted(point)) return { name: before.tree, point, isTight: false };
  try {
    // The kernel completes what a killed umount or mount had begun. Until then the image is not clean, and is mounted nowhere.
    await unmountImage(image, point);
  } catch (error) {
    if (!(error instanceof TreeHeld)) throw error;
    warn(error.message);
    return undefined;
  }
  if (!(await isCleanImage(image))) return undefined;
  return openTree(paths, before.tree);
}

async function showCopy(
  paths: Paths,
  set: string,
  snapshot: Vouched | null,
  warn: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  await forgetRestored(paths);
  if (snapshot) await extractImage(paths, paths.base(snapshot.id), signal);
  else await emptyPlain(paths);
  // The image is not used again: the next restore needs the disk.
  await sweepBases(paths, new Set());
  await rm(`${paths.plain}.new`, { recursive: true, force: true });
  await linkPaths(paths, warn);
  await writeRestored(paths, { version: 2, set, mode: 'plain', snapshot });
}

/**
 * Whether the warm directory still has the tree of a restore. After a restart of the program alone it must not be restored
 * again: a job may use it, and the set's current snapshot may be another one.
 */
export async function isWarm(directories: Directories): Promise<boolean> {
  const paths = await snapshotPaths(directories);
  const restored = await readRestored(paths);
  if (!restored) return false;
  if (restored.mode === 'plain') return true;
  // A lazy start that has failed is not repaired: the next job gets no tree, and the instance is replaced. /run ends with a boot.
  if (restored.mode === 'lazy')
    return paths.lazy !== undefined && (await lazyHealth(paths.lazy)).state !== 'none';
  if (restored.mode === 'image')
    return restored.snapshot === null || (await exists(paths.base(restored.snapshot.id)));
  return restored.tree !== undefined && isBound(paths, restored.tree);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
