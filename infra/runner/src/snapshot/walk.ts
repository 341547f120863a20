import { type Dirent, lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';

/** Names on Linux are bytes, not text: decoding a path can lose it. */
export type RawPath = Buffer;

const SLASH = Buffer.from('/');

/** The size of a tree. */
export type TreeSize = { files: number; contentBytes: number };

export function joined(folder: RawPath, name: RawPath): RawPath {
  return Buffer.concat([folder, SLASH, name]);
}

/** Entries of a directory; none if there is no such directory. */
export async function entriesOf(folder: RawPath): Promise<Dirent<Buffer>[]> {
  try {
    return await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/**
 * Counts regular files and their bytes; hard links once. A file that is deleted meanwhile does not count.
 *
 * A switch to another thread costs ten times as much as lstat does, and a tree has a million files. So lstat is synchronous
 * here, and the event loop runs between directories.
 */
export async function measureTree(root: string): Promise<TreeSize> {
  const size: TreeSize = { files: 0, contentBytes: 0 };
  const counted = new Set<string>();
  const folders: RawPath[] = [Buffer.from(root)];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await entriesOf(folder)) {
      const path = joined(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      const found = lstatSync(path, { throwIfNoEntry: false });
      if (!found) continue;
      const { size: bytes, nlink, dev, ino } = found;
      if (nlink > 1) {
        if (counted.has(`${dev}:${ino}`)) continue;
        counted.add(`${dev}:${ino}`);
      }
      size.files += 1;
      size.contentBytes += bytes;
    }
  }
  return size;
}
