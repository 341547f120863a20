import { readdir, readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { extentsOf, sharedBytes } from './extents.ts';
import { BLOCK } from './image.ts';
import { mounts } from './mounts.ts';
import type { Paths } from './paths.ts';

const GIB = 2 ** 30;

/**
 * Bytes of the disk that no tree may take: a write to a clone takes more of the disk than its own length, since XFS allocates
 * 128 KiB for it. A tenth of a disk that is smaller than 10 GiB, which is none of an instance.
 */
function spareBytes(diskBytes: number): number {
  return Math.min(GIB, Math.floor(diskBytes / 10));
}

/** A mounted tree, in bytes. */
export type TreeSpace = { free: number; shared: number };

/**
 * Bytes of each tree that its file system keeps back, so that all trees together never take more than the disk has. A tree can
 * take its free space, and once more what it shares: to overwrite a shared block takes a new one.
 *
 * @param free of the disk
 * @param lacking bytes that an image which is being filled still takes
 * @returns undefined if not even the shared blocks have room: the caller keeps a watch then
 */
export function reserves(
  trees: readonly TreeSpace[],
  free: number,
  spare: number,
  lacking: number,
): { reserved: number[]; isTight: boolean } {
  const shared = trees.reduce((sum, tree) => sum + tree.shared, 0);
  const fully = free - spare - lacking - shared;
  const isTight = fully < 0;
  // On a tight disk at least new files meet an error.
  const allowed = Math.max(0, isTight ? free - spare - lacking : fully);
  const share = allowed / Math.max(1, trees.length);
  return { reserved: trees.map((tree) => Math.max(0, tree.free - share)), isTight };
}

/**
 * Sets the reserve of every mounted tree (`reserved_clusters` of ext4, which also holds for root and needs no write to the disk).
 * Called after each mount, discard, save and restore.
 *
 * @param lacking bytes that an image which is being filled still takes
 * @param fresh name of a tree that has not been written to
 * @returns whether the disk is too small for all that the trees may write: their jobs need `watchDisk` then
 */
export async function balanceReserve(paths: Paths, lacking = 0, fresh?: string): Promise<boolean> {
  const names = (await readdir(paths.trees).catch(() => [])).filter((name) => name.endsWith('.img'));
  const table = await mounts();
  const spaces = await Promise.all(
    names.map(async (name) => {
      const image = join(paths.trees, name);
      const point = paths.treeMount(name.slice(0, -'.img'.length));
      // Not by the loop device: it is there before the mount, and after it until the kernel has written everything back.
      const loop = table.findLast((mount) => mount.point === point)?.source.slice('/dev/'.length);
      if (loop === undefined) return [];
      const { bfree } = await statfs(point);
      // All that a new clone has is shared.
      const shared =
        name === `${fresh}.img`
          ? (await stat(image)).blocks * 512
          : sharedBytes(await extentsOf(image, { isSettled: false }));
      return [{ loop, space: { free: bfree * BLOCK, shared } }];
    }),
  );
  const found = spaces.flat();
  if (found.length === 0) return false;
  const disk = await statfs(paths.images);
  const { reserved, isTight } = reserves(
    found.map(({ space }) => space),
    disk.bavail * disk.bsize,
    spareBytes(disk.blocks * disk.bsize),
    lacking,
  );
  for (const [index, { loop }] of found.entries()) {
    const clusters = Math.floor((reserved[index] ?? 0) / BLOCK);
    await writeFile(`/sys/fs/ext4/${loop}/reserved_clusters`, String(clusters));
  }
  return isTight;
}

/** Interval of the watch, in milliseconds. A disk writes some 2 GB/s, and 1 GiB of the spare space is for this time. */
const WATCH_MS = 200;

/**
 * Watches a disk that is too small for all that a job may overwrite. When it is nearly full, the job's cgroup is frozen and
 * killed: writes that had succeeded would be lost next.
 *
 * @param images a path on the disk
 * @param cgroup directory of the job's cgroup, version 2
 * @returns whether the job was killed, when `signal` ends the watch or after the kill
 */
export async function watchDisk(images: string, cgroup: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const { bavail, bsize, blocks } = await statfs(images);
    const least = spareBytes(blocks * bsize) + Math.min(await dirtyBytes(), (blocks * bsize) / 10);
    if (bavail * bsize < least) {
      await writeFile(join(cgroup, 'cgroup.freeze'), '1');
      await writeFile(join(cgroup, 'cgroup.kill'), '1');
      // A frozen process is killed too, but cannot be reaped.
      await writeFile(join(cgroup, 'cgroup.freeze'), '0');
      return true;
    }
    await sleep(WATCH_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** Bytes that programs may have written and the kernel has not (`vm.dirty_bytes`, which bootstrap.sh sets). */
async function dirtyBytes(): Promise<number> {
  const bytes = Number(await readFile('/proc/sys/vm/dirty_bytes', 'utf8').catch(() => '0'));
  return bytes > 0 ? bytes : GIB;
}
