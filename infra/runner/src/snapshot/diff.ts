import { spawn } from 'node:child_process';
import { mkdtemp, open, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UNIT_BYTES } from '../../../../shared/snapshot/units.ts';
import { execute } from '../child-process.ts';
import { type Base, readBase } from './base.ts';
import { BLOCK, readSuperblock } from './image.ts';
import { blocksOf, forEachInode } from './inodes.ts';
import { type Directories, snapshotPaths, WARM } from './paths.ts';
import { PATHS, pathOf } from './warm-paths.ts';

/** What a snapshot added to its parent, by the files of its image. */
export type SnapshotDiff = {
  id: string;
  /** Undefined: the snapshot has the whole image. */
  parent: string | undefined;
  /** Bytes of the units that the snapshot has added, and what its frames take in S3. */
  changedBytes: number;
  storedBytes: number;
  /** Changed bytes of each directory of the set, the largest first; what belongs to no file is `metadata`. */
  directories: { path: string; bytes: number }[];
  /** The files and directories with the most changed bytes. */
  files: { path: string; bytes: number }[];
};

/** Most files that the result names. */
const MOST_FILES = 40;

/** The image that is asked for is not on this disk. */
export class NotRestored extends Error {
  override readonly name = 'NotRestored';
}

/**
 * Finds out which files the units of a snapshot belong to that its parent does not have. Its image must be on the disk. Units have 64 KiB:
 * all content of a unit counts, also that of files beside those that have changed.
 *
 * @throws {NotRestored}
 */
export async function diffSnapshot(directories: Directories, id: string): Promise<SnapshotDiff> {
  const paths = await snapshotPaths(directories);
  const base = await readBase(paths, id);
  if (!base)
    throw new NotRestored(
      `the image of ${id} is not on this disk: use an instance that has restored it, as \`aw-runner snapshot restore\` does`,
    );
  const units = addedUnits(base);
  const changedBytes = units.reduce((sum, each) => sum + each, 0) * UNIT_BYTES;
  const image = paths.base(id);
  const { bytes, ofFiles } = await changedInodes(image, units);
  const named = await nameInodes(image, bytes);
  const byDirectory = new Map<string, number>([['metadata', Math.max(0, changedBytes - ofFiles)]]);
  for (const { path, bytes: changed } of named) {
    const directory = directoryOf(path);
    byDirectory.set(directory, (byDirectory.get(directory) ?? 0) + changed);
  }
  const largestFirst = (one: { bytes: number }, other: { bytes: number }) => other.bytes - one.bytes;
  return {
    id,
    parent: base.manifest.parent,
    changedBytes,
    storedBytes: base.manifest.frames.find((object) => object.id === id)?.bytes ?? 0,
    directories: [...byDirectory].map(([path, sum]) => ({ path, bytes: sum })).sort(largestFirst),
    files: named
      .map(({ path, bytes: changed }) => ({ path: placeOf(path), bytes: changed }))
      .sort(largestFirst)
      .slice(0, MOST_FILES),
  };
}

/** A map of one byte per unit: whether the snapshot's own object has it. */
function addedUnits({ id, manifest, index }: Base): Uint8Array {
  const own = manifest.frames.findIndex((object) => object.id === id);
  const units = new Uint8Array(index.imageUnits);
  for (let record = 0; record < index.count; record += 1)
    if (index.object(record) === own) units.fill(1, index.firstUnit(record), index.endUnit(record));
  return units;
}

/** Changed bytes by inode. */
async function changedInodes(
  file: string,
  units: Uint8Array,
): Promise<{ bytes: Map<number, number>; ofFiles: number }> {
  const image = await open(file, 'r');
  const bytes = new Map<number, number>();
  let ofFiles = 0;
  try {
    const superblock = await readSuperblock(image);
    await forEachInode(image, superblock, async (inode, number) => {
      let changed = 0;
      await blocksOf(image, superblock, inode, (block, count) => {
        for (let each = block; each < block + count; each += 1)
          if (units[Math.floor((each * BLOCK) / UNIT_BYTES)] === 1) changed += BLOCK;
      });
      if (changed === 0) return;
      bytes.set(number, changed);
      ofFiles += changed;
    });
  } finally {
    await image.close();
  }
  return { bytes, ofFiles };
}

/** The names of inodes, by a walk over the mounted image. An inode with several names gets the first one. */
async function nameInodes(
  image: string,
  bytes: ReadonlyMap<number, number>,
): Promise<{ path: string; bytes: number }[]> {
  const point = await mkdtemp(join(tmpdir(), 'aw-runner-diff-'));
  const named: { path: string; bytes: number }[] = [];
  const left = new Map(bytes);
  try {
    await execute('mount', ['-t', 'ext4', '-o', 'loop,ro,noload,nodev,nosuid,noexec', image, point]);
    try {
      for await (const entry of find(point)) {
        const at = entry.indexOf(' ');
        const inode = Number(entry.slice(0, at));
        const changed = left.get(inode);
        if (changed === undefined) continue;
        left.delete(inode);
        named.push({ path: entry.slice(at + 1), bytes: changed });
      }
    } finally {
      await execute('umount', [point]);
    }
  } finally {
    await rmdir(point);
  }
  return named;
}

/** Number and path of each file, relative to a directory. */
async function* find(directory: string): AsyncGenerator<string> {
  const child = spawn('find', ['.', '-xdev', '-printf', '%i %P\\0'], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  let rest = '';
  for await (const piece of child.stdout.setEncoding('utf8')) {
    const entries = (rest + piece).split('\0');
    rest = entries.pop() ?? '';
    yield* entries;
  }
  const code = await ended;
  if (code !== 0) throw new Error(`find ended with ${code}`);
}

/** The place of a file of the image on instances. */
function placeOf(path: string): string {
  const [first = '', second = '', ...rest] = path.split('/');
  return first === PATHS && second !== '' ? [pathOf(second), ...rest].join('/') : `/${path}`;
}

/** The directory of the set that a file of the image belongs to. */
function directoryOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  if (first === PATHS && second !== '') return pathOf(second);
  return first === WARM ? 'the warm directory' : 'metadata';
}
