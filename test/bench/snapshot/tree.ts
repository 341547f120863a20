import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from './file-systems.ts';

/** What a tree comes to. */
export type TreeSize = { files: number; contentBytes: number };

/** What a benchmark has to be about: less would measure the start of programs. */
const LEAST: TreeSize = { files: 30_000, contentBytes: 1_000_000_000 };

/** A tree beside which nothing that does not grow with it counts. */
export const LARGE: TreeSize = { files: 30_000, contentBytes: 3_500_000_000 };

/** Real trees, each once. */
const SOURCES = [
  'node_modules',
  '/usr/share',
  '/usr/include',
  '/usr/lib',
  '/usr/local',
  '/root/.cargo',
  '/opt',
];

/**
 * Copies real trees to `target` until they are large enough: the project's dependencies, and installed packages.
 *
 * @param least what the tree has at least
 * @returns what it came to, and what it is made of
 * @throws if this computer has too few of them
 */
export async function makeTree(
  root: string,
  target: string,
  least: TreeSize = LEAST,
): Promise<TreeSize & { madeOf: string[] }> {
  const madeOf: string[] = [];
  let size: TreeSize = { files: 0, contentBytes: 0 };
  await mkdir(target, { recursive: true });
  for (const source of SOURCES) {
    const from = source.startsWith('/') ? source : join(root, source);
    if (!existsSync(from)) continue;
    // Links stay links, also those that lead out of the tree: none is followed.
    must('cp', '-a', '--one-file-system', `${from}/.`, join(target, source.replaceAll('/', '_')));
    madeOf.push(source);
    size = await measureTree(target);
    if (size.files >= least.files && size.contentBytes >= least.contentBytes) return { ...size, madeOf };
  }
  throw new Error(
    `${madeOf.join(', ')} have ${size.files} files and ${size.contentBytes} bytes: a benchmark needs ${least.files} and ${least.contentBytes}`,
  );
}

/** Regular files of a tree, and their bytes. */
async function measureTree(path: string): Promise<TreeSize> {
  const size: TreeSize = { files: 0, contentBytes: 0 };
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    size.files += 1;
    size.contentBytes += (await lstat(join(entry.parentPath, entry.name))).size;
  }
  return size;
}
