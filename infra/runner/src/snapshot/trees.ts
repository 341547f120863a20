import { chmod, constants, copyFile, lstat, mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { ChildProcessFailed, execute } from '../child-process.ts';
import { BadImage, makeImage } from './image.ts';
import {
  bind,
  canMount,
  deviceOf,
  errorsOf,
  isMounted,
  loops,
  mountImage,
  mounts,
  unmountImage,
} from './mounts.ts';
import { type Directories, type Paths, snapshotPaths, WARM } from './paths.ts';
import { balanceReserve } from './reserve.ts';
import { readRestored } from './restored-state.ts';
import { inTree, makePlace, PATHS, type WarmPath } from './warm-paths.ts';

/** A mounted clone of a snapshot's image: the files of one job, or of all jobs of an instance. */
export type Tree = {
  name: string;
  /** Where it is mounted. Its directory `warm` is bound to the warm directory. */
  point: string;
  /** Whether the disk is too small for all that the jobs may write: `watchDisk` is needed while one runs. */
  isTight: boolean;
};

/** Least and largest size of a new image, in bytes. It is sparse: what fits on the disk is the matter of the reserve. */
const LEAST_IMAGE = 64 * 2 ** 30;
const LARGEST_IMAGE = 2 ** 41;

/**
 * @param base id of the snapshot; its image must be complete
 * @throws {BadImage} if the kernel does not mount the image, or it has more than the directories of a set
 */
export async function createTree(paths: Paths, base: string | undefined): Promise<Tree> {
  const name = await newName(paths);
  const image = paths.tree(name);
  try {
    if (base === undefined) await makeImage(image, await emptyImageBytes(paths));
    else await cloneFile(paths.base(base), image);
    return await openTree(paths, name, name);
  } catch (error) {
    await removeTree(paths, name).catch(() => undefined);
    if (base !== undefined && error instanceof ChildProcessFailed && error.exitCode === MOUNT_FAILED)
      throw new BadImage(`the kernel does not mount the image: ${error.output.trim()}`, { cause: error });
    throw error;
  }
}

/** Mounts a clone of a snapshot and removes it, so that an image that no job can use is found while another one can be restored. */
export async function tryTree(paths: Paths, base: string): Promise<void> {
  await removeTree(paths, (await createTree(paths, base)).name);
}

/** Exit code of mount(8) for a file system that cannot be mounted. */
const MOUNT_FAILED = 32;

/** Mounts a tree that exists. @param fresh the same name, if nothing was written to it yet */
export async function openTree(paths: Paths, name: string, fresh?: string): Promise<Tree> {
  const point = paths.treeMount(name);
  await mkdir(point, { recursive: true });
  await mountImage(paths.tree(name), point);
  if (fresh !== undefined) await refuseForeign(point);
  await mkdir(join(point, WARM), { recursive: true });
  return { name, point, isTight: await balanceReserve(paths, 0, fresh) };
}

/** The names of the first level that a snapshot has. `lost+found` belongs to the file system. */
export const KEPT: readonly string[] = [WARM, PATHS, 'lost+found'];

/**
 * The root of a job is an overlay of the instance and of directories of the tree beside the saved ones. An image that has something
 * there would place it into the root of each job, setuid files included; and a link in the place of a saved directory would be
 * followed on the instance. A save leaves neither, so whoever made the image did not use it.
 *
 * @param point of a clone to which nothing was written yet
 * @throws {BadImage}
 */
async function refuseForeign(point: string): Promise<void> {
  const names = await directoriesIn(point);
  const foreign = names.find((name) => !KEPT.includes(name));
  if (foreign !== undefined)
    throw new BadImage(`the image has ${JSON.stringify(foreign)} beside the directories of a set`);
  if (names.includes(PATHS)) await directoriesIn(join(point, PATHS));
}

async function directoriesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  for (const name of names) {
    // A name that is no text is not found by it.
    const found = await lstat(join(folder, name)).catch(() => undefined);
    if (!found?.isDirectory())
      throw new BadImage(`the image has no directory, but something else, at ${JSON.stringify(name)}`);
  }
  return names;
}

/**
 * Unmounts and deletes a tree. It returns when the blocks are free again, not when the file has lost its name.
 *
 * @throws {TreeHeld} after ten seconds, or a minute if it is mounted elsewhere only, with the name of what holds it: no further job may
 *   start, and the instance is replaced
 */
export async function discardTree(directories: Directories, name: string): Promise<void> {
  const paths = await snapshotPaths(directories);
  await removeTree(paths, name);
  await balanceReserve(paths);
}

/** Name of the tree that the warm directory shows; undefined if it shows a copy, or nothing was restored. */
export async function warmTree(directories: Directories): Promise<string | undefined> {
  const restored = await readRestored(await snapshotPaths(directories));
  return restored?.mode === 'mounted' ? restored.tree : undefined;
}

/** Whether the disk is too small for all that the mounted trees may write: `watchDisk` is needed while a job runs. */
export async function isDiskTight(directories: Directories): Promise<boolean> {
  return balanceReserve(await snapshotPaths(directories));
}

/** Why a job that used the tree has failed and the tree must not be saved, or undefined. */
export async function treeProblem(directories: Directories, name: string): Promise<string | undefined> {
  const paths = await snapshotPaths(directories);
  const loop = await deviceOf(paths.tree(name));
  if (loop === undefined || (await errorsOf(loop)) === 0) return undefined;
  return 'disk full or broken: the kernel has lost writes of the tree';
}

async function removeTree(paths: Paths, name: string): Promise<void> {
  await dropWrites(paths, name);
  await unmountImage(paths.tree(name), paths.treeMount(name));
  await rm(paths.tree(name), { force: true });
  await rm(paths.treeMount(name), { recursive: true, force: true });
}

/**
 * Shuts the file system of a tree down, so that nothing is written of what is thrown away. Otherwise an unmount writes up to
 * 1 GiB first; and it does so in the background, if a namespace that ends has the last reference. The tree is unmounted as usual
 * where its kernel or xfs_io cannot do that.
 */
async function dropWrites(paths: Paths, name: string): Promise<void> {
  const point = paths.treeMount(name);
  if (!(await isMounted(point))) return;
  // By a directory of the tree: after its unmount, as that of another program, its mount point is a directory of the disk of all images.
  await execute('xfs_io', ['-x', '-c', 'shutdown', join(point, 'lost+found')]).catch(() => undefined);
}

/**
 * Makes a directory that only root reaches. Images and trees have files of every user, and trees have what the mount of a job does
 * not show.
 */
export async function makePrivate(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o700);
}

/** A copy that shares all blocks. @throws where the file system cannot do that */
export async function cloneFile(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE);
}

/** Whether trees can be made here: with root, and on a file system with reflink. */
export async function whyNoTrees(paths: Paths): Promise<string | undefined> {
  if (!canMount()) return 'images are mounted by root on Linux only';
  await makePrivate(paths.trees);
  const probe = join(paths.trees, `probe-${process.pid}.part`);
  try {
    await writeFile(probe, 'x');
    await cloneFile(probe, `${probe}2`);
    return undefined;
  } catch (error) {
    return `${paths.images} is not on a file system with reflink: ${errorText(error)}`;
  } finally {
    for (const path of [probe, `${probe}2`]) await rm(path, { force: true });
  }
}

/**
 * Names are numbers; the directory of a name is made by one process only. No name is used again: what a killed program has started
 * for an earlier tree must not find another one in its place.
 */
async function newName(paths: Paths): Promise<string> {
  await makePrivate(paths.trees);
  const used = (await readdir(paths.trees)).map((name) => Number.parseInt(name, 10) || 0);
  for (let number = Math.max(Date.now(), ...used) + 1; ; number += 1) {
    try {
      await mkdir(paths.treeMount(String(number)));
      return String(number);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** Removes every tree: between two jobs none is in use. */
export async function sweepJobTrees(directories: Directories, warn: (line: string) => void): Promise<void> {
  await sweepTrees(await snapshotPaths(directories), undefined, warn);
}

async function emptyImageBytes(paths: Paths): Promise<number> {
  const { blocks, bsize } = await statfs(paths.images);
  const whole = Math.ceil((blocks * bsize) / 2 ** 30) * 2 ** 30;
  return Math.min(LARGEST_IMAGE, Math.max(LEAST_IMAGE, whole));
}

/** Binds a tree to the warm directory and to the places of the set's directories, unless it is. */
export async function bindWarm(paths: Paths, tree: Pick<Tree, 'name' | 'point'>): Promise<void> {
  for (const { path, place } of await unboundPaths(paths, tree.name)) {
    await makePlace(place, paths);
    await bind(join(tree.point, inTree(path)), place);
  }
  // Last, and the first one of an unmount: where it is bound, all others are.
  if (!(await shows(paths, tree.name, paths.warm))) await bind(join(tree.point, WARM), paths.warm);
}

/** Whether the warm directory shows this tree, which is bound last. */
export async function isBound(paths: Paths, name: string): Promise<boolean> {
  return shows(paths, name, paths.warm);
}

/** The directories of the set whose places do not show this tree. */
export async function unboundPaths(paths: Paths, name: string): Promise<WarmPath[]> {
  const unbound: WarmPath[] = [];
  for (const path of paths.warmPaths) if (!(await shows(paths, name, path.place))) unbound.push(path);
  return unbound;
}

async function shows(paths: Paths, name: string, place: string): Promise<boolean> {
  const table = await mounts();
  const device = table.find((mount) => mount.point === paths.treeMount(name))?.device;
  return device !== undefined && table.findLast((mount) => mount.point === place)?.device === device;
}

/**
 * Removes every tree but one, and what killed programs have left: images without a mount, mounts, loop devices. A tree that
 * something holds stays, and its blocks count as used.
 *
 * @param keep name of the tree that stays; undefined: none
 */
export async function sweepTrees(
  paths: Paths,
  keep: string | undefined,
  warn: (line: string) => void,
): Promise<void> {
  const names = new Set<string>();
  for (const entry of await readdir(paths.trees).catch(() => [])) {
    if (entry.endsWith('.part') || entry.endsWith('.conf') || entry.endsWith('.part2')) {
      await rm(join(paths.trees, entry), { force: true });
    } else names.add(entry.replace(/\.img$/, ''));
  }
  // Loop devices whose file has lost its name already.
  for (const { file } of await loops()) {
    if (file.startsWith(`${paths.trees}/`))
      names.add(file.slice(paths.trees.length + 1).replace(/\.img$/, ''));
  }
  for (const name of names) {
    if (name === keep || name === '') continue;
    await removeTree(paths, name).catch((error: unknown) => warn(`tree ${name} stays: ${errorText(error)}`));
  }
}
