import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';

/** Runs a program, and throws with its words if it fails. */
export function must(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1e8 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Mounts an empty file system in memory, for one side of one round. */
export function freshTmpfs(path: string): void {
  mkdirSync(path, { recursive: true });
  must('mount', '-t', 'tmpfs', '-o', 'size=12g,mode=755', 'hearth-bench', path);
}

/** Makes a new ext4 in a file and mounts it: what is on it can be dropped from the page cache, unlike a tmpfs. */
export function freshExt4(image: string, path: string, bytes: number): void {
  mkdirSync(path, { recursive: true });
  must('truncate', '-s', String(bytes), image);
  must('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image);
  must('mount', '-o', 'loop,noatime', image, path);
}

/** Unmounts everything at or below a path, deepest first, and removes it. */
export function unmountBelow(path: string): void {
  const table = must('cat', '/proc/self/mounts');
  const points = table.split('\n').flatMap((line) => line.split(' ')[1] ?? []);
  for (const point of points.filter((one) => one === path || one.startsWith(`${path}/`)).reverse()) {
    must('umount', point);
  }
  rmSync(path, { recursive: true, force: true });
}

/** Every read comes from the disk again. */
export function dropPageCache(): void {
  must('sync');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}
