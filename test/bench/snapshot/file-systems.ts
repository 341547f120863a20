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

/** Directory of the files that are disks: in memory, so that the disk of this computer is not measured, or BENCH_DISK. */
const DISKS = process.env.BENCH_DISK ?? '/dev/shm';

/**
 * Mounts an XFS as an instance has it, in a file, for one side of one round. Its page cache can be dropped.
 *
 * @param bytes of the disk; it is sparse
 */
export function freshXfs(path: string, bytes = 40e9): void {
  mkdirSync(path, { recursive: true });
  const file = `${DISKS}/${path.replaceAll('/', '_')}.xfs`;
  rmSync(file, { force: true });
  must('truncate', '-s', String(bytes), file);
  must('mkfs.xfs', '-q', '-m', 'reflink=1', file);
  // A file system in memory has no direct I/O.
  const direct = DISKS === '/dev/shm' ? [] : ['--direct-io=on'];
  const device = must('losetup', '--find', '--show', ...direct, file).trim();
  must('mount', '-o', 'noatime', device, path);
  must('losetup', '--detach', device);
  // The loop device holds the file as long as it is mounted.
  rmSync(file);
}

/** Unmounts everything at or below a path, deepest first, and removes it. */
export function unmountBelow(path: string): void {
  const table = must('cat', '/proc/self/mounts');
  const points = table.split('\n').flatMap((line) => line.split(' ')[1] ?? []);
  for (const point of points.filter((one) => one === path || one.startsWith(`${path}/`)).reverse()) {
    // The loop device of an image can be in use for a moment after its unmount.
    for (let attempt = 1; spawnSync('umount', [point]).status !== 0; attempt += 1) {
      if (attempt === 20) must('umount', point);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
  rmSync(path, { recursive: true, force: true });
}

/** Every read comes from the disk again. */
export function dropPageCache(): void {
  must('sync');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}
