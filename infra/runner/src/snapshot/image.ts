import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { EXT4_FEATURES } from '../../../../shared/snapshot/manifest.ts';
import { ChildProcessFailed, execute } from '../child-process.ts';

/**
 * Everything that decides on the layout. No journal: the tree of a job is thrown away, and a save checks the image.
 * The distribution's own file differs between systems: newer ones turn on features that
 * older e2fsprogs refuse.
 */
const MKE2FS_CONF = `[defaults]
base_features = ${EXT4_FEATURES.join(',')}
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
hash_alg = half_md4
reserved_ratio = 0
lazy_itable_init = 1
no_discard = 1
[fs_types]
ext4 = {
inode_size = 256
}
`;

/** Block size of every image, in bytes. */
export const BLOCK = 4096;

/** The image or what it contains cannot be used. */
export class BadImage extends Error {
  override readonly name = 'BadImage';
}

/**
 * Makes an empty file system in a sparse file.
 *
 * @param bytes size of the file system; the file takes a few megabytes
 * @param from a directory whose content goes into it; for systems that cannot mount
 */
export async function makeImage(file: string, bytes: number, from?: string): Promise<void> {
  const config = `${file}.${randomUUID()}.conf`;
  await writeFile(config, MKE2FS_CONF);
  try {
    await rm(file, { force: true });
    await writeFile(file, '');
    await truncate(file, bytes);
    await execute('env', [
      `MKE2FS_CONFIG=${config}`,
      'mke2fs',
      ...['-q', '-F', '-t', 'ext4', '-b', String(BLOCK)],
      ...(from === undefined ? [] : ['-d', from]),
      file,
    ]);
  } finally {
    await rm(config, { force: true });
  }
}

/** What the superblock states about an image. */
export type Superblock = {
  /** Whether it was unmounted, and the kernel found no error in it. */
  isClean: boolean;
  blocks: number;
  freeBlocks: number;
  inodes: number;
  freeInodes: number;
  blocksPerGroup: number;
  inodesPerGroup: number;
  firstDataBlock: number;
  inodeSize: number;
  descriptorSize: number;
  reservedDescriptorBlocks: number;
  label: string;
};

/** Fields of the ext4 superblock (Linux documentation, ext4, "Super Block"), which starts at byte 1,024. */
export async function readSuperblock(image: FileHandle): Promise<Superblock> {
  const block = Buffer.alloc(1024);
  const { bytesRead } = await image.read(block, 0, block.length, 1024);
  if (bytesRead !== block.length || block.readUInt16LE(0x38) !== 0xef53) {
    throw new BadImage('the image has no ext4 superblock');
  }
  const wide = (low: number, high: number) => block.readUInt32LE(low) + block.readUInt32LE(high) * 2 ** 32;
  return {
    isClean: block.readUInt16LE(0x3a) === 1,
    blocks: wide(0x4, 0x150),
    freeBlocks: wide(0xc, 0x158),
    inodes: block.readUInt32LE(0),
    freeInodes: block.readUInt32LE(0x10),
    blocksPerGroup: block.readUInt32LE(0x20),
    inodesPerGroup: block.readUInt32LE(0x28),
    firstDataBlock: block.readUInt32LE(0x14),
    inodeSize: block.readUInt16LE(0x58),
    descriptorSize: Math.max(32, block.readUInt16LE(0xfe)),
    reservedDescriptorBlocks: block.readUInt16LE(0xce),
    label: block.toString('latin1', 0x78, 0x88).replace(/\0.*$/s, ''),
  };
}

/** Whether the image was unmounted properly. A tree that was not, after a crash of the kernel, may lack what was written last. */
export async function isCleanImage(file: string): Promise<boolean> {
  const image = await open(file, 'r').catch(() => undefined);
  if (!image) return false;
  try {
    return (await readSuperblock(image)).isClean;
  } catch (error) {
    if (error instanceof BadImage) return false;
    throw error;
  } finally {
    await image.close();
  }
}

/** @throws {BadImage} if e2fsck finds any defect; it changes nothing */
export async function checkImage(file: string, signal?: AbortSignal): Promise<void> {
  try {
    await execute('e2fsck', ['-f', '-n', file], signal && { signal });
  } catch (error) {
    if (!(error instanceof ChildProcessFailed) || error.exitCode === null) throw error;
    throw new BadImage(`e2fsck finds defects in the image: ${error.output.trim().slice(-500)}`, {
      cause: error,
    });
  }
}

/** Share of blocks or inodes above which the next run gets a larger image. */
const FULL = 0.7;

/**
 * Doubles an unmounted image that is nearly full, so that the runners of the set do not meet its end.
 *
 * @returns the size in bytes
 */
export async function growImage(file: string, signal?: AbortSignal): Promise<number> {
  const image = await open(file, 'r');
  const { blocks, freeBlocks, inodes, freeInodes } = await readSuperblock(image).finally(() => image.close());
  const isFull = blocks - freeBlocks > blocks * FULL || inodes - freeInodes > inodes * FULL;
  const { size } = await stat(file);
  if (!isFull) return size;
  await truncate(file, size * 2);
  // -f: e2fsck without changes leaves no mark that resize2fs accepts.
  await execute('resize2fs', ['-f', file], signal && { signal });
  return size * 2;
}
