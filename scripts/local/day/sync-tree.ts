import { cp, lstat, mkdir, readdir, readlink, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/**
 * The warming command of the local cloud's sets: brings real dependency trees into the warm directory, changing only
 * what differs, as a package manager or Bazel's repository cache would.
 *
 * Usage: node sync-tree.ts <warm directory> <source directory>...
 */

/** @returns how many files were copied or removed */
export async function syncTree(source: string, target: string): Promise<number> {
  await mkdir(target, { recursive: true });
  const wanted = await readdir(source, { withFileTypes: true });
  const names = new Set(wanted.map((entry) => entry.name));
  let changed = 0;
  for (const name of await readdir(target)) {
    if (names.has(name)) continue;
    await rm(join(target, name), { recursive: true });
    changed += 1;
  }
  for (const entry of wanted) {
    const from = join(source, entry.name);
    const to = join(target, entry.name);
    if (entry.isDirectory()) {
      changed += await syncTree(from, to);
    } else if (!(await isSame(from, to))) {
      await cp(from, to, { preserveTimestamps: true, verbatimSymlinks: true, force: true });
      changed += 1;
    }
  }
  return changed;
}

async function isSame(from: string, to: string): Promise<boolean> {
  const [a, b] = await Promise.all([lstat(from), lstat(to).catch(() => undefined)]);
  if (!b) return false;
  if (a.isSymbolicLink() && b.isSymbolicLink()) return (await readlink(from)) === (await readlink(to));
  return a.isFile() && b.isFile() && a.size === b.size && Math.abs(a.mtimeMs - b.mtimeMs) < 1;
}

if (import.meta.main) {
  const [warm, ...sources] = process.argv.slice(2).map((path) => resolve(path));
  if (!warm || sources.length === 0) {
    console.error('usage: sync-tree.ts <warm directory> <source directory>...');
    process.exit(2);
  }
  for (const source of sources) {
    const changed = await syncTree(source, join(warm, source.replaceAll('/', '_')));
    console.log(`${source}: ${changed} changed`);
  }
}
