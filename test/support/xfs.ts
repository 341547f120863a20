import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';

/**
 * A disk as an instance has it: XFS with reflink, in a sparse file beside its mount point. Needs root.
 *
 * @param size as `truncate` takes it; XFS needs 300 MB
 * @returns ends the disk: everything below it is unmounted first
 */
export function mountXfs(point: string, size = '20G'): () => void {
  const file = `${point}.xfs`;
  mkdirSync(point, { recursive: true });
  execFileSync('truncate', ['-s', size, file]);
  execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', file]);
  execFileSync('mount', ['-o', 'loop,noatime,nodev,nosuid', file, point]);
  return () => {
    unmountBelow(point);
    rmSync(file, { force: true });
  };
}

/**
 * Mount points at or below a path, deepest last.
 *
 * @param pid of a process in the mount namespace that is meant
 */
export function mountsBelow(path: string, pid: number | 'self' = 'self'): string[] {
  return readFileSync(`/proc/${pid}/mounts`, 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => point === path || point.startsWith(`${path}/`));
}

/** Files of loop devices that are below a path. */
export function loopsBelow(path: string): string[] {
  const { stdout } = spawnSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], {
    encoding: 'utf8',
  });
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((file) => file.startsWith(`${path}/`));
}

/** Unmounts all that is at or below a path, latest first. */
export function unmountBelow(path: string): void {
  for (const point of mountsBelow(path).reverse()) execFileSync('umount', [point]);
}
