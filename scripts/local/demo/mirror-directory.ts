import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, lstat, mkdir, readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * The warming command of the local cloud: mirrors dependency trees into the warm directory and changes only what differs,
 * as a package manager or the repository cache of Bazel does.
 *
 * Usage: AW_WARM_DIR=<warm directory> node mirror-directory.ts <source directory>=<place below the warm directory>...
 */

const execute = promisify(execFile);

/** @returns number of files copied or removed */
export async function mirrorDirectory(source: string, target: string): Promise<number> {
  if (!existsSync(target)) return copyDirectory(source, target);
  const entries = await readdir(source, { withFileTypes: true });
  const names = new Set(entries.map((entry) => entry.name));
  let changed = 0;
  for (const name of await readdir(target)) {
    if (names.has(name)) continue;
    await rm(join(target, name), { recursive: true });
    changed += 1;
  }
  for (const entry of entries) {
    const from = join(source, entry.name);
    const to = join(target, entry.name);
    if (entry.isDirectory()) {
      changed += await mirrorDirectory(from, to);
    } else if (!(await isSame(from, to))) {
      await cp(from, to, { preserveTimestamps: true, verbatimSymlinks: true, force: true });
      changed += 1;
    }
  }
  return changed;
}

/** A tree that is not there at all: one program copies it several times as fast as one call per file. */
async function copyDirectory(source: string, target: string): Promise<number> {
  await mkdir(target, { recursive: true });
  await execute('cp', ['-a', '--', `${source}/.`, target]);
  const copied = await readdir(target, { recursive: true, withFileTypes: true });
  return copied.filter((entry) => !entry.isDirectory()).length;
}

async function isSame(from: string, to: string): Promise<boolean> {
  const [a, b] = await Promise.all([lstat(from), lstat(to).catch(() => undefined)]);
  if (!b) return false;
  if (a.isSymbolicLink() && b.isSymbolicLink()) return (await readlink(from)) === (await readlink(to));
  // A restore without root keeps whole seconds.
  const second = (stats: { mtimeMs: number }) => Math.floor(stats.mtimeMs / 1000);
  return a.isFile() && b.isFile() && a.size === b.size && second(a) === second(b);
}

if (import.meta.main) {
  const warm = process.env.AW_WARM_DIR;
  const mirrors = process.argv.slice(2).map((argument) => argument.split('='));
  if (!warm || mirrors.length === 0 || mirrors.some(({ length }) => length !== 2)) {
    console.error('usage: AW_WARM_DIR=<warm directory> mirror-directory.ts <source directory>=<place>...');
    process.exit(2);
  }
  let changed = 0;
  for (const [source = '', place = ''] of mirrors)
    changed += await mirrorDirectory(source, join(warm, place));
  console.log(`${mirrors.length} directories: ${changed} changed`);
}
