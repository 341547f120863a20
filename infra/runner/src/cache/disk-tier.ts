import { mkdirSync, renameSync, unlinkSync } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  statfs,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorText } from '../../../../shared/runtime/errors.ts';

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

/** What a file takes besides its content: its inode, and the rest of its last block; in bytes. */
const BLOCK = 4_096;
const INODE = 512;

/** Where a file is before it is complete. */
const TEMPORARY = 'tmp';

/** Names the boot in which the files were written. */
const BOOT = 'boot';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** A file that is being written. What it takes counts against the limit of the tier at once. */
export type TemporaryFile = {
  path: string;
  /** Writes behind what is there. @returns false if there is no room: nothing of the file stays, and it can be closed alone */
  write(piece: Buffer): Promise<boolean>;
  /** After the last piece. @returns false if nothing of the file stays */
  close(): Promise<boolean>;
  /** Makes a file of the tier from a closed one. @returns false if there is no room; nothing of the file stays then */
  adopt(name: string): Promise<boolean>;
  /** Removes a file that is not adopted. */
  discard(): Promise<void>;
};

/**
 * Files of the cache on the disk of the instance, by name, with a limit for their size: the one that was not used for the longest
 * time goes first. Names are relative paths. Where the disk is nearly full, all files are removed, and none is taken.
 */
export type DiskTier = {
  /** Size of a file in bytes; undefined if there is none. A file that is asked for counts as used. */
  bytes(name: string): number | undefined;
  path(name: string): string;
  /** A new file. Without room its first piece is refused. */
  create(): TemporaryFile;
  /** Writes a small file. @returns false if there is no room */
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
 * Opens the tier with the files that an earlier process of the same boot has left. What was not complete is removed, and so is
 * everything of an earlier boot: after a loss of power the content of a file is not certain.
 *
 * @param share of the size of the disk that the files may take
 * @param replaced the disk and the boot of this system
 */
export async function openDiskTier(
  directory: string,
  share: number,
  log: (line: string) => void,
  replaced: {
    statDisk?: (path: string) => Promise<{ bavail: number; blocks: number; bsize: number }>;
    bootId?: string;
  } = {},
): Promise<DiskTier> {
  const { statDisk = statfs, bootId = (await readFile(BOOT_ID, 'utf8')).trim() } = replaced;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const before = await readFile(join(directory, BOOT), 'utf8').catch(() => undefined);
  if (before !== bootId) {
    for (const name of await readdir(directory))
      await rm(join(directory, name), { recursive: true, force: true });
    await writeFile(join(directory, BOOT), bootId, { mode: 0o600 });
  }
  await rm(join(directory, TEMPORARY), { recursive: true, force: true });
  await mkdir(join(directory, TEMPORARY), { recursive: true, mode: 0o700 });
  const disk = await statDisk(directory);
  const limit = disk.blocks * disk.bsize * share;
  /** In the order of use, as a Map keeps it. */
  const files = new Map<string, number>();
  const folders = new Set<string>();
  const unfinished = new Set<TemporaryFile>();
  /** What the files take, and what those take that are being written. */
  let total = 0;
  let pending = 0;
  let isOff = false;
  let isChecking = false;
  let count = 0;

  for (const { name, bytes } of await filesBelow(directory)) {
    files.set(name, bytes);
    total += onDisk(bytes);
  }

  function forget(name: string): boolean {
    const bytes = files.get(name);
    if (bytes === undefined) return false;
    files.delete(name);
    total -= onDisk(bytes);
    return true;
  }

  /** At once, like each rename: a later file of the same name must not be removed. */
  function removeFile(name: string): void {
    try {
      unlinkSync(join(directory, name));
    } catch (error) {
      if (!isMissing(error)) log(`the disk tier: ${errorText(error)}`);
    }
  }

  function makeRoom(): void {
    for (const name of files.keys()) {
      if (total + pending <= limit && files.size <= MAX_FILES) return;
      forget(name);
      removeFile(name);
    }
  }

  function folderOf(name: string): void {
    const folder = dirname(join(directory, name));
    if (folders.has(folder)) return;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    folders.add(folder);
  }

  function create(): TemporaryFile {
    count += 1;
    const path = join(directory, TEMPORARY, String(count));
    let file: FileHandle | undefined;
    let bytes = 0;
    let taken = 0;
    let isGone = false;

    function take(size: number): void {
      pending += size - taken;
      taken = size;
    }

    async function discard(): Promise<void> {
      if (isGone) return;
      isGone = true;
      unfinished.delete(temporary);
      take(0);
      const opened = file;
      file = undefined;
      await unlink(path).catch(ignoreMissing);
      await opened?.close();
    }

    /** A full disk is no failure of the cache: the content is not kept. */
    async function refused(error: unknown): Promise<false> {
      log(`the disk tier: ${errorText(error)}`);
      await discard();
      return false;
    }

    const temporary: TemporaryFile = {
      path,
      discard,

      async write(piece) {
        if (isGone) return false;
        const next = onDisk(bytes + piece.length);
        // Complete files make room for it.
        if (isOff || pending - taken + next > limit) {
          await discard();
          return false;
        }
        bytes += piece.length;
        take(next);
        makeRoom();
        try {
          if (!file) {
            const opened = await open(path, 'wx', 0o600);
            if (isGone) {
              await opened.close();
              await unlink(path).catch(ignoreMissing);
              return false;
            }
            file = opened;
          }
          await file.appendFile(piece);
        } catch (error) {
          return refused(error);
        }
        return !isGone;
      },

      async close() {
        const opened = file;
        file = undefined;
        await opened?.close();
        return !isGone;
      },

      async adopt(name) {
        if (isGone) return false;
        try {
          folderOf(name);
          renameSync(path, join(directory, name));
        } catch (error) {
          return refused(error);
        }
        isGone = true;
        unfinished.delete(temporary);
        take(0);
        forget(name);
        files.set(name, bytes);
        total += onDisk(bytes);
        makeRoom();
        return true;
      },
    };
    unfinished.add(temporary);
    return temporary;
  }

  async function removeAll(): Promise<void> {
    files.clear();
    folders.clear();
    total = 0;
    for (const temporary of unfinished) await temporary.discard();
    for (const name of await readdir(directory))
      if (name !== TEMPORARY && name !== BOOT)
        await rm(join(directory, name), { recursive: true, force: true });
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

  makeRoom();
  await checkDisk();
  const timer = setInterval(() => {
    // The removal of many files takes longer than the time between two reads.
    if (isChecking) return;
    isChecking = true;
    void checkDisk()
      .catch((error: unknown) => log(`the disk tier: ${errorText(error)}`))
      .finally(() => {
        isChecking = false;
      });
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
    create,
    async write(name, content) {
      if (isOff) return false;
      const temporary = create();
      await temporary.write(content);
      await temporary.close();
      return temporary.adopt(name);
    },
    remove(name) {
      if (forget(name)) removeFile(name);
    },
    async removeFolder(folder) {
      for (const name of files.keys()) if (name.startsWith(`${folder}/`)) forget(name);
      for (const path of folders)
        if (`${path}/`.startsWith(`${join(directory, folder)}/`)) folders.delete(path);
      await rm(join(directory, folder), { recursive: true, force: true });
    },
    folders: () => readdir(directory),
    isOff: () => isOff,
    close: () => clearInterval(timer),
  };
}

/** All files below a directory without those of the tier itself, least recently changed first. */
async function filesBelow(directory: string): Promise<{ name: string; bytes: number; at: number }[]> {
  const found: { name: string; bytes: number; at: number }[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || (entry.parentPath === directory && entry.name === BOOT)) continue;
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(path);
    found.push({ name: path.slice(directory.length + 1), bytes: size, at: mtimeMs });
  }
  return found.sort((a, b) => a.at - b.at);
}

function onDisk(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK + INODE;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}
