import { rename, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { framesKey } from '../../../../../shared/snapshot/layout.ts';
import type { Vouched } from '../../../../../shared/snapshot/pointer.ts';
import { planRestore } from '../../../../../shared/snapshot/restore-plan.ts';
import {
  type Base,
  bestBase,
  type FetchOptions,
  missingBase,
  neededBytes,
  punch,
  removeBase,
  requireRoom,
  writeRecords,
} from '../base.ts';
import { type Paths, WARM } from '../paths.ts';
import { balanceReserve } from '../reserve.ts';
import { type Restored, writeRestored } from '../restored-state.ts';
import { cloneFile, createTree, type Tree } from '../trees.ts';
import { makePaths, PATHS } from '../warm-paths.ts';
import {
  isWorthwhile,
  LazyStartFailed,
  lazyHealth,
  mountLazyImage,
  removeLazyImage,
  showLazyImage,
  startLazyImage,
} from './lazy-image.ts';
import type { LazyRequest } from './status.ts';

/** How long readers wait for a frame while S3 does not answer. */
const PATIENCE_SECONDS = 300;

export type LazyBaseOptions = Omit<FetchOptions, 'progress'> & {
  region?: string;
  /** Directory of the lazy start, below /run. */
  directory: string;
  /** File of aw-runner; by default the one that runs. */
  program?: string;
  /** A rest that takes longer than this on the measured link starts lazily, in seconds. Default: 3. */
  seconds?: number;
};

/** Time between two looks at a fill that a restore waits for, in milliseconds. */
const POLL_MS = 50;

/** Longest wait for the reason of a mount that has failed, in milliseconds. */
const REPORT_MS = 3_000;

/**
 * Makes the snapshot available to jobs: served while its image is fetched, if the rest takes long on this link, and else as the
 * complete image.
 *
 * @returns stored bytes that were or will be fetched, and whether the image is served
 * @throws as `beginLazyBase`; {LazyStartFailed}. Nothing of the lazy start stays then; the caller removes the base
 */
export async function obtainLazily(
  paths: Paths,
  wanted: Vouched,
  options: LazyBaseOptions,
): Promise<{ fetchedBytes: number; isServed: boolean }> {
  const { directory } = options;
  const { signal } = options.patience;
  const fetchedBytes = await beginLazyBase(paths, wanted, options);
  if (fetchedBytes === undefined) return { fetchedBytes: 0, isServed: false };
  try {
    if (await isWorthwhile(directory, fetchedBytes, { seconds: options.seconds, signal })) {
      await mountLazyImage(directory, signal);
      return { fetchedBytes, isServed: true };
    }
    while (!(await finishLazyBase(paths, wanted.id, directory))) {
      const health = await lazyHealth(directory);
      if (health.state === 'failed') throw new LazyStartFailed(health);
      await sleep(POLL_MS, undefined, signal && { signal });
    }
    await removeLazyImage(directory);
    return { fetchedBytes, isServed: false };
  } catch (error) {
    // A mount of an image whose frames are missing fails with an input error only, and a moment before the process reports why.
    let health = await lazyHealth(directory);
    const deadline = performance.now() + REPORT_MS;
    while (health.state === 'filling' && !signal?.aborted && performance.now() < deadline) {
      await sleep(POLL_MS);
      health = await lazyHealth(directory);
    }
    await removeLazyImage(directory);
    signal?.throwIfAborted();
    throw health.state === 'failed' ? new LazyStartFailed(health) : error;
  }
}

/**
 * The tree of a job on an instance that started lazily, or undefined if the image is complete: the job gets a clone then. No tree of
 * an earlier job is left.
 *
 * @throws if reads of the served image fail: no further job can start
 */
export async function lazyJobTree(paths: Paths, restored: Restored): Promise<Tree | undefined> {
  const { lazy: directory } = paths;
  const { snapshot } = restored;
  if (directory === undefined || snapshot === null) throw new Error('a lazy start has no directory');
  const health = await lazyHealth(directory);
  if (health.state === 'filling') return createLazyTree(paths, directory);
  if (!(await finishLazyBase(paths, snapshot.id, directory))) {
    const reason = health.state === 'failed' ? health.reason : 'nothing serves it';
    throw new Error(`the image of a lazy start is not complete: ${reason}`);
  }
  await removeLazyImage(directory);
  await writeRestored(paths, { ...restored, mode: 'image' });
  return undefined;
}

/**
 * Starts the process that serves the image of a snapshot and completes it on the disk. Of an image that the disk has already, only
 * the difference is fetched.
 *
 * @returns stored bytes that the process fetches, or undefined if the disk has the complete image
 * @throws as `ensureBase` and `startLazyImage`; the caller removes the base
 */
export async function beginLazyBase(
  paths: Paths,
  wanted: Vouched,
  options: LazyBaseOptions,
): Promise<number | undefined> {
  const base = await missingBase(paths, wanted, options);
  if (!base) return undefined;
  const { id, manifest, index } = base;
  // What another fill has left is not continued: its record is not that of this process.
  await removeBase(paths, id);
  const older = options.canClone ? await bestBase(paths, index) : undefined;
  const plan = planRestore(index, older?.index);
  const part = paths.part(id);
  const needed = neededBytes(plan);
  await requireRoom(paths, needed.written);
  if (older) await cloneFile(paths.base(older.id), part);
  else await writeFile(part, '');
  await truncate(part, manifest.image.bytes);
  if (older) await punch(part, plan);
  await balanceReserve(paths, needed.written);
  await writeRecords(paths, base);
  const request: LazyRequest = {
    bucket: options.bucket,
    ...(options.region !== undefined && { region: options.region }),
    objects: manifest.frames.map((object) => framesKey(manifest.set, object.id)),
    index: storedIndex(paths, base),
    ...(older && { base: storedIndex(paths, older) }),
    image: { file: part, bytes: manifest.image.bytes },
    patienceSeconds: PATIENCE_SECONDS,
  };
  const { directory, program } = options;
  const { signal } = options.patience;
  await startLazyImage({
    directory,
    request,
    ...(program !== undefined && { program }),
    ...(signal && { signal }),
  });
  return needed.fetched;
}

function storedIndex(paths: Paths, { id, manifest }: Base): LazyRequest['index'] {
  return {
    file: paths.baseIndex(id),
    sha256: manifest.index.sha256,
    imageBytes: manifest.image.bytes,
    objects: manifest.frames.map(({ bytes }) => ({ bytes })),
  };
}

/**
 * Makes the completed image a base: the next tree is a clone of it. Jobs on the served image stay there.
 *
 * @returns whether it is complete
 */
export async function finishLazyBase(paths: Paths, id: string, directory: string): Promise<boolean> {
  if ((await lazyHealth(directory)).state !== 'complete') return false;
  // The process has open files, which keep their image under its new name.
  await rename(paths.part(id), paths.base(id)).catch((error: NodeJS.ErrnoException) => {
    // It was called before.
    if (error.code !== 'ENOENT') throw error;
  });
  await balanceReserve(paths);
  return true;
}

/**
 * A tree for a job that does not wait for the image: empty, with overlays over the served image in place of its warm directory and of the
 * directories of the set.
 * `discardTree` removes both.
 */
export async function createLazyTree(paths: Paths, directory: string): Promise<Tree> {
  const tree = await createTree(paths, undefined);
  await showLazyImage(directory, tree.point, WARM);
  if (paths.warmPaths.length > 0) {
    await showLazyImage(directory, tree.point, PATHS).catch((error: NodeJS.ErrnoException) => {
      // A snapshot of a set without further directories has none of them.
      if (error.code !== 'ENOENT') throw error;
    });
    await makePaths(tree.point, paths.warmPaths, 'leave', paths.owner);
  }
  return tree;
}
