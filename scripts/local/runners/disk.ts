import { existsSync } from 'node:fs';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { spawnText } from '../cleanup/spawn-text.ts';

/** Sparse, so the size has no cost. The trees of all instances of a run are on it. */
const DISK_BYTES = 200 * 2 ** 30;

/**
 * Gives the instances of a run the disk that bootstrap.sh makes on a real instance: XFS with reflink, on which every job's tree is
 * a clone. Without root, or without the tools of XFS, their folders stay where they are, and aw-runner copies files instead.
 *
 * @param folder of the run
 * @returns whether trees can be cloned and mounted
 */
export async function mountRunnersDisk(folder: string): Promise<boolean> {
  const point = join(folder, 'runners');
  const tools = ['/usr/sbin', '/sbin', '/usr/bin'].some((path) => existsSync(join(path, 'mkfs.xfs')));
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !tools) return false;
  await mkdir(point, { recursive: true });
  const file = join(folder, 'runners.xfs');
  await writeFile(file, '');
  await truncate(file, DISK_BYTES);
  await spawnText('mkfs.xfs', ['-q', '-m', 'reflink=1', file]);
  await spawnText('mount', ['-o', 'loop,noatime,nodev,nosuid', file, point]);
  return true;
}
