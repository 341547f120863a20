import { type FileHandle, open } from 'node:fs/promises';
import { UNIT_BYTES, unitsOf } from '../../../../shared/snapshot/units.ts';
import { BadImage, BLOCK, readSuperblock, type Superblock } from './image.ts';

/** The layout of ext4 as in the Linux documentation, for the features in `image.ts`. */
type Group = { blockBitmap: number; inodeBitmap: number; inodeTable: number; usedInodes: number };

/** The descriptors of all block groups; they follow the superblock. */
async function readGroups(image: FileHandle, superblock: Superblock): Promise<Group[]> {
  const { blocks, blocksPerGroup, inodesPerGroup, descriptorSize } = superblock;
  const count = Math.ceil(blocks / blocksPerGroup);
  const table = await readBlocks(image, superblock, 1, count * descriptorSize);
  return Array.from({ length: count }, (_, index) => {
    const at = index * descriptorSize;
    const isWide = descriptorSize >= 64;
    const wide = (low: number, high: number) =>
      table.readUInt32LE(at + low) + (isWide ? table.readUInt32LE(at + high) * 2 ** 32 : 0);
    const unused = table.readUInt16LE(at + 0x1c) + (isWide ? table.readUInt16LE(at + 0x32) * 2 ** 16 : 0);
    // Flag 1: no inode of the group was ever used, and its table is not initialised.
    const isUnused = (table.readUInt16LE(at + 0x12) & 1) !== 0;
    return {
      blockBitmap: wide(0x0, 0x20),
      inodeBitmap: wide(0x4, 0x24),
      inodeTable: wide(0x8, 0x28),
      usedInodes: isUnused ? 0 : Math.max(0, inodesPerGroup - unused),
    };
  });
}

async function readBlocks(
  image: FileHandle,
  { blocks }: Superblock,
  block: number,
  bytes = BLOCK,
): Promise<Buffer> {
  if (block + bytes / BLOCK > blocks) throw new BadImage(`block ${block} is behind the end of the image`);
  const buffer = Buffer.alloc(bytes);
  await image.read(buffer, 0, bytes, block * BLOCK);
  return buffer;
}

type Visit = (inode: Buffer, number: number) => Promise<void> | void;

/** Visits each inode that was ever used, in order. */
export async function forEachInode(image: FileHandle, superblock: Superblock, visit: Visit): Promise<void> {
  for (const [index, group] of (await readGroups(image, superblock)).entries()) {
    await visitGroup(image, superblock, group, index, visit);
  }
}

async function visitGroup(
  image: FileHandle,
  superblock: Superblock,
  group: Group,
  index: number,
  visit: Visit,
): Promise<void> {
  const { inodeSize, inodesPerGroup } = superblock;
  // The table of a group has 2 MiB.
  const table = await readBlocks(image, superblock, group.inodeTable, group.usedInodes * inodeSize);
  for (let slot = 0; slot < group.usedInodes; slot += 1) {
    const waiting = visit(
      table.subarray(slot * inodeSize, (slot + 1) * inodeSize),
      index * inodesPerGroup + slot + 1,
    );
    if (waiting) await waiting;
  }
}

/**
 * Zeroes the deleted inodes of an unmounted image. The kernel frees an inode and leaves its bytes, and with them the values of
 * extended attributes, which `fstrim` does not reach. Free blocks are discarded and names are wiped before this.
 *
 * @returns the number of inodes that had content
 */
export async function wipeDeletedInodes(file: string): Promise<number> {
  const image = await open(file, 'r+');
  let wiped = 0;
  try {
    const superblock = await readSuperblock(image);
    const { inodeSize } = superblock;
    for (const group of await readGroups(image, superblock)) {
      if (group.usedInodes === 0) continue;
      const bitmap = await readBlocks(image, superblock, group.inodeBitmap);
      const table = await readBlocks(image, superblock, group.inodeTable, group.usedInodes * inodeSize);
      const touched = new Set<number>();
      for (let slot = 0; slot < group.usedInodes; slot += 1) {
        const isUsed = (bitmap.readUInt8(slot >> 3) & (1 << (slot & 7))) !== 0;
        const inode = table.subarray(slot * inodeSize, (slot + 1) * inodeSize);
        if (isUsed || inode.every((byte) => byte === 0)) continue;
        inode.fill(0);
        touched.add(Math.floor((slot * inodeSize) / BLOCK));
        wiped += 1;
      }
      for (const block of touched) {
        const bytes = table.subarray(block * BLOCK, (block + 1) * BLOCK);
        await image.write(bytes, 0, bytes.length, (group.inodeTable + block) * BLOCK);
      }
    }
    await image.sync();
  } finally {
    await image.close();
  }
  return wiped;
}

/**
 * The units of an unmounted image that hold metadata: descriptors, bitmaps, the used part of the inode tables, directories and
 * blocks of extents and attributes. A mount and a walk over all files read only these, so a restore fetches them first. A unit
 * that is not found costs an early start one more request, and nothing else.
 *
 * @returns a map of one byte per unit
 */
export async function metadataUnits(file: string): Promise<Uint8Array> {
  const image = await open(file, 'r');
  try {
    const superblock = await readSuperblock(image);
    const units = new Uint8Array(unitsOf(superblock.blocks * BLOCK));
    const mark = (block: number, count = 1) =>
      units.fill(
        1,
        Math.floor((block * BLOCK) / UNIT_BYTES),
        Math.ceil(((block + count) * BLOCK) / UNIT_BYTES),
      );
    const groups = await readGroups(image, superblock);
    mark(0, 1 + Math.ceil((groups.length * superblock.descriptorSize) / BLOCK));
    const read = (block: number) => readBlocks(image, superblock, block);
    for (const [index, group] of groups.entries()) {
      mark(group.blockBitmap);
      mark(group.inodeBitmap);
      mark(group.inodeTable, Math.ceil((group.usedInodes * superblock.inodeSize) / BLOCK));
      await visitGroup(image, superblock, group, index, (inode) => markInode(inode, read, mark));
    }
    return units;
  } finally {
    await image.close();
  }
}

type Read = (block: number) => Promise<Buffer>;
type Mark = (block: number, count?: number) => void;

const DIRECTORY = 0x4000;
const KIND = 0xf000;
/** Flag of an inode whose blocks are in a tree of extents. */
const EXTENTS = 0x80000;

/** Marks the attribute block of an inode, the index blocks of its extents, and, of a directory or long link, all blocks. */
function markInode(inode: Buffer, read: Read, mark: Mark): Promise<void> | undefined {
  const mode = inode.readUInt16LE(0);
  if (mode === 0 || inode.readUInt16LE(0x1a) === 0) return undefined;
  const attributes = inode.readUInt32LE(0x68) + inode.readUInt16LE(0x76) * 2 ** 32;
  if (attributes !== 0) mark(attributes);
  if ((inode.readUInt32LE(0x20) & EXTENTS) === 0) return undefined;
  const isDirectory = (mode & KIND) === DIRECTORY;
  // The root of the tree is in the inode; most files need no other node.
  if (!isDirectory && inode.readUInt16LE(0x28 + 6) === 0) return undefined;
  return markExtents(inode.subarray(0x28, 0x64), isDirectory, read, mark);
}

/** Magic number of a node of an extent tree. */
const NODE = 0xf30a;

async function markExtents(node: Buffer, isDirectory: boolean, read: Read, mark: Mark): Promise<void> {
  await walkExtents(node, read, (block, count, isLeaf) => {
    if (!isLeaf || isDirectory) mark(block, count);
  });
}

/** Levels of an extent tree: the kernel accepts no deeper one (ext4 documentation, "Extent Tree"). */
const MAX_DEPTH = 5;

/** Visits each block range that a tree of extents names: nodes, and content. */
async function walkExtents(
  node: Buffer,
  read: Read,
  visit: (block: number, count: number, isLeaf: boolean) => Promise<void> | void,
  maxDepth = MAX_DEPTH,
): Promise<void> {
  if (node.readUInt16LE(0) !== NODE) return;
  const depth = node.readUInt16LE(6);
  if (depth > maxDepth) throw new BadImage('the image has a tree of extents that does not end');
  const entries = Math.min(node.readUInt16LE(2), Math.floor(node.length / 12) - 1);
  for (let index = 0; index < entries; index += 1) {
    const at = 12 + index * 12;
    if (depth > 0) {
      const block = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
      await visit(block, 1, false);
      await walkExtents(await read(block), read, visit, depth - 1);
    } else {
      const length = node.readUInt16LE(at + 4);
      const block = node.readUInt32LE(at + 8) + node.readUInt16LE(at + 6) * 2 ** 32;
      // Lengths above 32,768 stand for blocks that are allocated and not written.
      await visit(block, length > 0x8000 ? length - 0x8000 : length, true);
    }
  }
}

/** Visits each range of blocks that an inode has, nodes of its extents included. Free inodes and inodes without blocks have none. */
export async function blocksOf(
  image: FileHandle,
  superblock: Superblock,
  inode: Buffer,
  visit: (block: number, count: number) => void,
): Promise<void> {
  if (inode.readUInt16LE(0) === 0 || inode.readUInt16LE(0x1a) === 0) return;
  if ((inode.readUInt32LE(0x20) & EXTENTS) === 0) return;
  const read = (block: number) => readBlocks(image, superblock, block);
  await walkExtents(inode.subarray(0x28, 0x64), read, visit);
}

/**
 * Why the names of a directory lead out of it, or to two things, or undefined. The kernel writes no such names; a program that
 * copies by name would follow them.
 *
 * @param inode of the image
 */
export async function namesProblem(
  image: FileHandle,
  superblock: Superblock,
  inode: Buffer,
): Promise<string | undefined> {
  if ((inode.readUInt16LE(0) & KIND) !== DIRECTORY || inode.readUInt16LE(0x1a) === 0) return undefined;
  if ((inode.readUInt32LE(0x20) & EXTENTS) === 0) return 'a directory without extents';
  const read = (block: number) => readBlocks(image, superblock, block);
  const names = new Set<string>();
  let problem: string | undefined;
  await walkExtents(inode.subarray(0x28, 0x64), read, async (first, count, isLeaf) => {
    for (let block = first; isLeaf && problem === undefined && block < first + count; block += 1)
      problem = addNames(await read(block), names);
  });
  return problem;
}

/** Adds the names in a block of a directory (ext4 documentation, "Linear Directories"). */
function addNames(block: Buffer, names: Set<string>): string | undefined {
  for (let at = 0; at + 8 <= block.length; ) {
    const [inode, length] = [block.readUInt32LE(at), block.readUInt16LE(at + 4)];
    const name = block.toString('latin1', at + 8, at + 8 + block.readUInt8(at + 6));
    if (length < 8) return 'a directory with an entry without a length';
    at += length;
    // An entry that is not used, or the tail with the checksum of the block.
    if (inode === 0) continue;
    if (/[/\0]/.test(name)) return `the name ${JSON.stringify(name)}`;
    if (names.has(name)) return `two entries ${JSON.stringify(name)} in one directory`;
    names.add(name);
  }
  return undefined;
}
