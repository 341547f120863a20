import { lstat, mkdir, open, readdir, readlink, rename, rm, rmdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execute } from '../child-process.ts';
import { BadImage, checkImage, makeImage, readSuperblock } from './image.ts';
import { forEachInode, namesProblem } from './inodes.ts';
import { type Paths, WARM } from './paths.ts';
import { inTree, PATHS } from './warm-paths.ts';

/**
 * Trees without root or without a file system with reflink: developers' computers only. The content of the image is copied, and a
 * save makes an image of a directory. Kept are names, kinds, content, permissions, targets of links, and modification times of
 * files and directories in whole seconds from 1970 to 2038. Hard links become files of their own. What cannot be kept otherwise is
 * refused by name.
 * Setuid bits are lost, which have no effect in a mounted tree either.
 */

/** The content of the image cannot be shown without root. */
export class NeedsRoot extends Error {
  override readonly name = 'NeedsRoot';
}

/**
 * Replaces the warm directory by the content of an image. It gets its place only when it is complete.
 *
 * @throws {NeedsRoot} naming the first file that would lose something; {BadImage} if the image has defects, or names that lead out
 *   of their directories
 */
export async function extractImage(paths: Paths, image: string, signal?: AbortSignal): Promise<void> {
  // No kernel checks the image. What follows reads every directory that has an inode, and this every one that has a name.
  await checkImage(image, signal);
  await refuseLosses(image);
  const fresh = `${paths.plain}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  // debugfs ends with 0 whatever happens, and complains about owners that only root can set.
  const problems: string[] = [];
  for (const name of [WARM, PATHS]) {
    const output = await executeWithErrors('debugfs', ['-R', `rdump /${name} "${fresh}"`, image], signal);
    problems.push(...output.split('\n').filter((line) => /^(rdump|dump_file|rdump_inode)/.test(line)));
  }
  // A set without further directories has no `paths` in its image.
  const isExpected = (line: string) =>
    line.includes('while changing ownership') || line.includes(`not found by ext2_lookup while`);
  const real = problems.filter((line) => !isExpected(line));
  if (real.length > 0) throw new Error(`the image cannot be extracted: ${real.slice(0, 3).join('; ')}`);
  await mkdir(join(fresh, WARM), { recursive: true });
  await replacePlain(paths, fresh);
}

/** Makes the warm directory an empty one. */
export async function emptyPlain(paths: Paths): Promise<void> {
  const fresh = `${paths.plain}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(join(fresh, WARM), { recursive: true });
  await replacePlain(paths, fresh);
}

async function replacePlain(paths: Paths, fresh: string): Promise<void> {
  await execute('chmod', ['-R', 'u+rwX', paths.plain]).catch(() => undefined);
  await rm(paths.plain, { recursive: true, force: true });
  await rename(fresh, paths.plain);
  const target = join(paths.plain, WARM);
  if ((await readlink(paths.warmPlace).catch(() => '')) === target) return;
  await rm(paths.warmPlace, { recursive: true, force: true });
  await mkdir(dirname(paths.warmPlace), { recursive: true });
  await symlink(target, paths.warmPlace);
}

/** Makes links at the places of the set's directories. A place that has files of its own stays as it is. */
export async function linkPaths(paths: Paths, warn: (line: string) => void): Promise<void> {
  for (const { path, place } of paths.warmPaths) {
    const target = join(paths.plain, inTree(path));
    await mkdir(target, { recursive: true });
    if ((await readlink(place).catch(() => '')) === target) continue;
    // An empty directory gives way; rmdir removes no other one.
    await rmdir(place).catch(() => undefined);
    await mkdir(dirname(place), { recursive: true });
    await symlink(target, place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
      warn(`${path} is not warm: without root it needs a link there, and it exists`);
    });
  }
}

/** Removes the directories that the set does not name any more. */
async function removeOtherPaths(paths: Paths): Promise<void> {
  const kept = new Set(paths.warmPaths.map(({ path }) => inTree(path)));
  for (const name of await readdir(join(paths.plain, PATHS)).catch(() => [])) {
    const directory = join(PATHS, name);
    if (!kept.has(directory)) await rm(join(paths.plain, directory), { recursive: true, force: true });
  }
}

/** An image of the warm directory, in a file. @throws if a file cannot be read, or its time cannot be kept */
export async function imageOfPlain(paths: Paths, file: string, bytes: number): Promise<void> {
  await removeOtherPaths(paths);
  const late = ['-newermt', '2038-01-19', '-o', '!', '-newermt', '1970-01-01'];
  const [path] = (await execute('find', [paths.plain, ...late])).split('\n');
  if (path) throw new Error(`${path} has a time outside 1970 to 2038, which needs root`);
  if (!(await lstat(join(paths.plain, WARM))).isDirectory()) throw new Error(`${paths.plain} has no tree`);
  // A cold instance has held no image yet.
  await mkdir(dirname(file), { recursive: true });
  await makeImage(file, bytes, paths.plain);
}

const REGULAR = 0x8000;
const KINDS: ReadonlySet<number> = new Set([REGULAR, 0x4000, 0xa000]);
const ATTRIBUTES = 0xea020000;

/** @throws {NeedsRoot} */
async function refuseLosses(file: string): Promise<void> {
  const image = await open(file, 'r');
  try {
    const superblock = await readSuperblock(image);
    await forEachInode(image, superblock, async (inode, number) => {
      const names = await namesProblem(image, superblock, inode);
      if (names !== undefined) throw new BadImage(`the image has ${names}`);
      // Inodes below 11 are the file system's own, except for the root.
      if (number < 11) return;
      const loss = lossOf(inode);
      if (loss === undefined) return;
      const listed = await execute('debugfs', ['-R', `ncheck ${number}`, file]);
      const name =
        listed
          .trim()
          .split('\n')
          .at(-1)
          ?.replace(/^\d+\s+/, '') ?? `inode ${number}`;
      throw new NeedsRoot(`${name} has ${loss}: to restore it needs root`);
    });
  } finally {
    await image.close();
  }
}

/** What a copy of the inode would lose, or undefined. */
function lossOf(inode: Buffer): string | undefined {
  const mode = inode.readUInt16LE(0);
  if (mode === 0 || inode.readUInt16LE(0x1a) === 0) return undefined;
  if (!KINDS.has(mode & 0xf000)) return 'a kind other than file, directory and link';
  const isInside = inode.length > 0x82 && inode.length > 128 + inode.readUInt16LE(0x80) + 4;
  const inner = isInside && inode.readUInt32LE(128 + inode.readUInt16LE(0x80)) === ATTRIBUTES;
  if (inode.readUInt32LE(0x68) !== 0 || inner) return 'attributes or an access control list';
  const isOutside =
    inode.readInt32LE(0x10) < 0 || (inode.length > 0x8c && (inode.readUInt32LE(0x88) & 3) !== 0);
  return isOutside ? 'a time outside 1970 to 2038' : undefined;
}

/** Standard error of a program that reports its failures only there. */
async function executeWithErrors(program: string, args: string[], signal?: AbortSignal): Promise<string> {
  return execute('sh', ['-c', '"$@" 2>&1 >/dev/null', 'sh', program, ...args], signal && { signal });
}
