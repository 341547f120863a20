import { chmod, chown, lstat, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execute } from '../../child-process.ts';
import { loopsOf, mounts } from '../mounts.ts';
import type { LazyPaths } from './status.ts';

/** Mounts of a lazy start: the served file (FUSE), a loop device on it, ext4 on that, and an overlay per job. */

/** Read-ahead of the loop device in KiB: the kernel's 128 KiB are an eighth of a frame, and each read of a missing one waits. */
const READ_AHEAD_KIB = 1024;

/**
 * Mounts the served image read-only at `paths.lower`. With direct I/O the loop device sends several reads at once, so that one
 * that waits for S3 does not hold the others; where the kernel does not have it for FUSE, it reads one after the other.
 *
 * @returns the loop device
 * @throws if the image cannot be mounted; the caller cleans up
 */
export async function mountLower(paths: LazyPaths): Promise<string> {
  const attach = (...options: string[]) =>
    execute('losetup', ['--read-only', '--find', '--show', ...options, paths.served]);
  const device = (await attach('--direct-io=on').catch(() => attach())).trim();
  await writeFile(`/sys/block/${device.slice('/dev/'.length)}/queue/read_ahead_kb`, String(READ_AHEAD_KIB));
  await mkdir(paths.lower, { recursive: true });
  const options = 'ro,noload,noatime,nodev,nosuid';
  await execute('mount', ['-i', '-t', 'ext4', '-o', options, device, paths.lower]);
  return device;
}

/**
 * Mounts a directory of the served image at the same place of a job's own tree, as the lower layer of an overlay. The first write
 * to a file copies it. `redirect_dir` lets a directory of the image be renamed; without it programs get EXDEV.
 *
 * @param tree the job's mounted file system; receives what the job writes, in its directory `lazy`
 * @param name of the directory in both
 * @returns the mount point
 * @throws ENOENT if the image has no such directory; if it has something else there
 */
export async function mountOverlay(paths: LazyPaths, tree: string, name: string): Promise<string> {
  const lower = join(paths.lower, name);
  const written = join(tree, 'lazy', name);
  const [upper, work, target] = [join(written, 'upper'), join(written, 'work'), join(tree, name)];
  for (const path of [upper, work, target]) await mkdir(path, { recursive: true });
  // A link would be followed on the instance.
  const found = await lstat(lower);
  if (!found.isDirectory()) throw new Error(`the image has no directory ${name}`);
  // The top directory of an overlay has the attributes of the upper one.
  const { mode, uid, gid } = found;
  await chown(upper, uid, gid);
  await chmod(upper, mode & 0o7777);
  const options = [
    `lowerdir=${escaped(lower)}`,
    `upperdir=${escaped(upper)}`,
    `workdir=${escaped(work)}`,
    'redirect_dir=on,index=off,metacopy=off,nodev,nosuid,noatime',
  ];
  // The source is a name only: that of the lazy start whose removal unmounts the overlay.
  await execute('mount', ['-i', '-t', 'overlay', '-o', options.join(','), paths.directory, target]);
  return target;
}

/** Colons separate directories, commas options. */
function escaped(path: string): string {
  return path.replace(/[\\:,]/g, (character) => `\\${character}`);
}

/**
 * Longest time of the removal, in milliseconds. The kernel closes the file of a loop device a moment after the device is detached,
 * and a program that was started by a killed aw-runner can attach one meanwhile.
 */
const REMOVAL_MS = 10_000;

/**
 * Removes every mount and loop device of a lazy start, last one first, whatever a killed program left. Never a lazy umount: blocks
 * and processes of a tree that something holds would stay without a name.
 *
 * @param endServing ends the process that serves the image; called when nothing of the image is mounted
 * @throws if something holds a mount
 */
export async function unmountLazy(paths: LazyPaths, endServing: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + REMOVAL_MS;
  for (;;) {
    try {
      await unmountAll(paths, endServing);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function unmountAll(paths: LazyPaths, endServing: () => Promise<void>): Promise<void> {
  const all = (await mounts()).reverse();
  const trees = all.filter(({ type, source }) => type === 'overlay' && source === paths.directory);
  const own = all.filter(({ point }) => point === paths.lower);
  for (const { point } of [...trees, ...own]) await execute('umount', [point]);
  // Nobody uses the image. What a killed program has begun, as its mount, can wait for frames in the kernel: it fails now.
  await endServing();
  for (const loop of await loopsOf((file) => file === paths.served))
    await execute('losetup', ['-d', `/dev/${loop}`]);
  for (const { point, type } of all) {
    if (point === paths.served && type === 'fuse') await execute('umount', ['-i', point]);
  }
}
