import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Longest time until what a test has ended gives its mounts and loop devices back, in milliseconds. */
const RELEASE_MS = 120_000;
const POLL_MS = 50;

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
  for (const point of mountsBelow(path).reverse()) {
    retried(() => execFileSync('umount', [point], { stdio: 'pipe' }));
  }
}

/** Unmounts a file system when nothing holds it any more: the kernel ends killed processes a moment after their kill. */
export async function unmountFree(point: string): Promise<void> {
  for (const end = performance.now() + RELEASE_MS; ; await sleep(POLL_MS)) {
    try {
      execFileSync('umount', [point], { stdio: 'pipe' });
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

/**
 * Unmounts the image that is mounted at a point, and returns when its file is complete. A mount namespace that another program has
 * made meanwhile has the image mounted too, until that program ends.
 */
export function unmountImageFile(point: string, file: string): void {
  execFileSync('umount', [point]);
  retried(() => {
    const device = execFileSync('losetup', ['--noheadings', '--output', 'NAME', '--associated', file], {
      encoding: 'utf8',
    }).trim();
    if (device !== '') throw new Error(`${device} still has ${file}`);
  });
}

/** Repeats what fails, for some time. The callers are synchronous. */
function retried(attempt: () => void): void {
  for (const end = performance.now() + RELEASE_MS; ; ) {
    try {
      attempt();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
    }
  }
}
