import { mkdirSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Most files: the list of them is in memory. */
const MAX_FILES = 200_000;

/**
 * Below this share of free space, and below this number of bytes, the tier is off; it is on again above twice as much. The space
 * of trees is computed when they are mounted (snapshot/reserve.ts): what the tier takes afterwards it gives back before they need it.
 */
const LEAST_FREE = 0.05;
const LEAST_FREE_BYTES = 4 * 2 ** 30;

/** Time between two reads of the free space, in milliseconds. A disk writes some 2 GB/s. */
const WATCH_MS = 250;

/** Where a file is before it is complete. */
const TEMPORARY = 'tmp';

/**
 * Files of the cache on the disk of the instance, by name, with a limit for their size: the one that was not used for the longest
 * time goes first. Names are relative paths. Where the disk is nearly full, all files are removed, and none is taken.
 */
export type DiskTier = {
  /** Size of a file in bytes; undefined if there is none. A file that is asked for counts as used. */
  bytes(name: string): number | undefined;
  path(name: string): string;
  /** A new path for a file that `adopt` takes. */
  temporary(): string;
  /** Takes a complete temporary file. @returns false if the tier is off; the file is removed then */
  adopt(temporary: string, name: string, bytes: number): Promise<boolean>;
  /** Writes a small file. @returns as `adopt` */
  write(name: string, content: Buffer): Promise<boolean>;
  remove(name: string): void;
  /** Removes a folder with all its files. The caller uses its names no more. */
  removeFolder(folder: string): Promise<void>;
  /** The names of the folders at the top. */
  folders(): Promise<string[]>;
  isOff(): boolean;
  close(): void;
};

/**
 * Opens the tier with the files that an earlier process has left. What was not complete is removed.
 *
 * @param share of the size of the disk that the files may take
 * @param statDisk replaces the disk
 */
export async function openDiskTier(
  directory: string,
  share: number,
  log: (line: string) => void,
  statDisk: (path: string) => Promise<{ bavail: number; blocks: number; bsize: number }> = statfs,
): Promise<DiskTier> {
  await rm(join(directory, TEMPORARY), { recursive: true, force: true });
  await mkdir(join(directory, TEMPORARY), { recursive: true, mode: 0o700 });
  const disk = await statDisk(directory);
  const limit = disk.blocks * disk.bsize * share;
  /** In the order of use, as a Map keeps it. */
  const files = new Map<string, number>();
  const folders = new Set<string>();
  let total = 0;
  let isOff = false;
  let count = 0;

  for (const { name, bytes } of await filesBelow(directory)) {
    files.set(name, bytes);
    total += bytes;
  }

  function forget(name: string): boolean {
    const bytes = files.get(name);
    if (bytes === undefined) return false;
    files.delete(name);
    total -= bytes;
    return true;
  }

  const removeFile = (name: string) => unlink(join(directory, name)).catch(ignoreMissing);

  function makeRoom(): void {
    for (const name of files.keys()) {
      if (total <= limit && files.size <= MAX_FILES) return;
      forget(name);
      void removeFile(name).catch((error: unknown) => log(`the disk tier: ${error}`));
    }
  }

  function folderOf(name: string): void {
    const folder = dirname(join(directory, name));
    if (folders.has(folder)) return;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    folders.add(folder);
  }

  async function adopt(temporary: string, name: string, bytes: number): Promise<boolean> {
    if (isOff || bytes > limit) {
      await unlink(temporary).catch(ignoreMissing);
      return false;
    }
    folderOf(name);
    await rename(temporary, join(directory, name));
    forget(name);
    files.set(name, bytes);
    total += bytes;
    makeRoom();
    return true;
  }

  function temporary(): string {
    count += 1;
    return join(directory, TEMPORARY, String(count));
  }

  async function removeAll(): Promise<void> {
    files.clear();
    folders.clear();
    total = 0;
    for (const name of await readdir(directory))
      if (name !== TEMPORARY) await rm(join(directory, name), { recursive: true, force: true });
  }

  async function checkDisk(): Promise<void> {
    const { bavail, blocks, bsize } = await statDisk(directory);
    const least = Math.max(blocks * bsize * LEAST_FREE, Math.min(LEAST_FREE_BYTES, (blocks * bsize) / 10));
    const free = bavail * bsize;
    if (!isOff && free < least) {
      isOff = true;
      log(`the disk tier is off: ${Math.floor(free / 2 ** 20)} MiB are free`);
      await removeAll();
    } else if (isOff && free > 2 * least) {
      isOff = false;
      log('the disk tier is on again');
    }
  }

  await checkDisk();
  const timer = setInterval(() => {
    void checkDisk().catch((error: unknown) => log(`the disk tier: ${error}`));
  }, WATCH_MS);
  timer.unref();

  return {
    bytes(name) {
      const bytes = files.get(name);
      if (bytes === undefined) return undefined;
      files.delete(name);
      files.set(name, bytes);
      return bytes;
    },
    path: (name) => join(directory, name),
    temporary,
    adopt,
    async write(name, content) {
      if (isOff) return false;
      const path = temporary();
      await writeFile(path, content, { mode: 0o600 });
      return adopt(path, name, content.length);
    },
    remove(name) {
      if (forget(name)) void removeFile(name).catch((error: unknown) => log(`the disk tier: ${error}`));
    },
    async removeFolder(folder) {
      for (const name of files.keys()) if (name.startsWith(`${folder}/`)) forget(name);
      for (const path of folders) if (path.startsWith(join(directory, folder))) folders.delete(path);
      await rm(join(directory, folder), { recursive: true, force: true });
    },
    folders: () => readdir(directory),
    isOff: () => isOff,
    close: () => clearInterval(timer),
  };
}

/** All files below a directory without the temporary ones, least recently changed first. */
async function filesBelow(directory: string): Promise<{ name: string; bytes: number; at: number }[]> {
  const found: { name: string; bytes: number; at: number }[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(path);
    found.push({ name: path.slice(directory.length + 1), bytes: size, at: mtimeMs });
  }
  return found.sort((a, b) => a.at - b.at);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
