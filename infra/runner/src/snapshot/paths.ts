import { mkdir, readlink, realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { findPlaces } from './warm-paths.ts';

/** The directories that a runner's configuration names. */
export type Directories = {
  /** Images and trees. On XFS with reflink, on the fastest disk of the instance. */
  images: string;
  /** The warm directory: jobs find the content of the snapshot there. */
  warm: string;
  /** Small files that survive a reboot. */
  state: string;
  /** Further directories of the set, at their own places (`warm-paths.ts`). */
  paths?: readonly string[];
  /** User that new ones of these belong to. */
  owner?: string;
  /** Directories of root in which everything that a place of one of these needs belongs to that user: those of agents. */
  ofOwner?: readonly string[];
  /** Directory of lazy starts, below /run (`lazy/`). Absent: every restore waits for the complete image. */
  lazy?: string;
};

/** The directory of a tree that is bound to the warm directory. */
export const WARM = 'warm';

/**
 * Every path that the snapshot engine owns, with symbolic links resolved: the kernel lists resolved paths. A slash at the end of
 * a directory has no effect.
 */
export async function snapshotPaths(configured: Directories) {
  const images = await existing(configured.images);
  const state = await existing(configured.state);
  const warm = await existing(configured.warm);
  const { usable, refused } = await findPlaces(
    configured.paths ?? [],
    [images, state, warm],
    join(images, 'plain'),
  );
  return {
    images,
    warm,
    /** The warm directory as it is configured. Where trees cannot be mounted, it is a link. */
    warmPlace: resolve(configured.warm),
    state,
    /** The directories of the set that have a place here, and why others have none. */
    warmPaths: usable,
    refusedPaths: refused,
    owner: configured.owner,
    ofOwner: configured.ofOwner ?? [],
    lazy: configured.lazy,
    bases: join(images, 'base'),
    trees: join(images, 'trees'),
    /** The complete image of a snapshot. */
    base: (id: string) => join(images, 'base', `${id}.img`),
    baseManifest: (id: string) => join(images, 'base', `${id}.json`),
    baseIndex: (id: string) => join(images, 'base', `${id}.index`),
    /** An image that is being filled, and the frames that it has. */
    part: (id: string) => join(images, 'base', `${id}.part`),
    partFrames: (id: string) => join(images, 'base', `${id}.frames`),
    tree: (name: string) => join(images, 'trees', `${name}.img`),
    /** Mount point of a tree. */
    treeMount: (name: string) => join(images, 'trees', name),
    /** The image of a tree at the moment of its save. */
    saving: join(images, 'trees', 'saving.part'),
    /** The tree of a system that cannot mount. */
    plain: join(images, 'plain'),
    restored: join(state, 'restored.json'),
    restoreLock: join(state, 'restore.lock'),
    saveLock: join(state, 'save.lock'),
  };
}

export type Paths = Awaited<ReturnType<typeof snapshotPaths>>;

/** The real path of a directory, which is made if it does not exist; so is the target of a link. */
async function existing(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const target = await readlink(absolute).catch(() => '.');
    await mkdir(target === '.' ? absolute : resolve(dirname(absolute), target), { recursive: true });
    return realpath(absolute);
  }
}
