import type { Dirent, Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { entriesOf, joined, type RawPath } from './walk.ts';

/**
 * Whether an upper directory has more effect than its files do: a directory that hides what is below it (opaque), or that
 * shows a directory from elsewhere below (renamed). Overlayfs stores both in extended attributes which only root can read or
 * set. They are found by their effect: by comparing the upper directory, the tree below and the merged tree.
 */
export async function isOverlayOnly(upper: string, lower: string, merged: string): Promise<boolean> {
  const folders: [RawPath, RawPath | undefined, RawPath][] = [
    [Buffer.from(upper), Buffer.from(lower), Buffer.from(merged)],
  ];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const [inUpper, inLower, inMerged] = next;
    const changed = byName(await entriesOf(inUpper));
    const below = byName(inLower ? await entriesOf(inLower) : []);
    const merge = byName(await entriesOf(inMerged));
    // A whiteout is an entry of the upper directory too, so a name that is in neither was hidden as a whole.
    if ([...below.keys()].some((name) => !merge.has(name) && !changed.has(name))) return true;
    for (const [name, entry] of merge) {
      if (changed.has(name)) continue;
      const under = below.get(name);
      if (!under || !inLower) return true;
      const same = await isSame(joined(inLower, under.name), under, joined(inMerged, entry.name), entry);
      if (same === false) return true;
    }
    for (const [name, entry] of changed) {
      if (!entry.isDirectory()) continue;
      const under = below.get(name);
      const lowerFolder = inLower && under?.isDirectory() ? joined(inLower, entry.name) : undefined;
      folders.push([joined(inUpper, entry.name), lowerFolder, joined(inMerged, entry.name)]);
    }
  }
  return false;
}

/** A name with one character per byte. */
function byName(entries: readonly Dirent<Buffer>[]): Map<string, Dirent<Buffer>> {
  return new Map(entries.map((entry) => [entry.name.toString('latin1'), entry]));
}

/**
 * Whether an entry that the upper directory does not have is the same one below and merged. A directory that was moved here
 * with equal names in it is not. Any file with a single name decides for its whole directory, so few files are compared.
 *
 * @returns undefined if nothing in the entry decides
 */
async function isSame(
  below: RawPath,
  belowEntry: Dirent<Buffer>,
  merged: RawPath,
  mergedEntry: Dirent<Buffer>,
): Promise<boolean | undefined> {
  if (belowEntry.isDirectory() !== mergedEntry.isDirectory()) return false;
  if (!mergedEntry.isDirectory()) {
    const [one, other] = await Promise.all([lstat(below), lstat(merged)].map(unlessGone));
    if (!one || !other) return undefined;
    if (inode(one.ino) !== inode(other.ino) || one.size !== other.size || one.mtimeMs !== other.mtimeMs) {
      return false;
    }
    return one.nlink === 1 ? true : undefined;
  }
  const inBelow = byName(await entriesOf(below));
  const inMerged = byName(await entriesOf(merged));
  if (inBelow.size !== inMerged.size) return false;
  // Files first: a directory is entered only if none of them decides.
  const sorted = [...inMerged].sort(([, a], [, b]) => Number(a.isDirectory()) - Number(b.isDirectory()));
  for (const [name, entry] of sorted) {
    const under = inBelow.get(name);
    if (!under) return false;
    const same = await isSame(joined(below, under.name), under, joined(merged, entry.name), entry);
    if (same !== undefined) return same;
  }
  return undefined;
}

/** A file can be deleted while a tree is compared. */
async function unlessGone(found: Promise<Stats>): Promise<Stats | undefined> {
  return found.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Squashfs numbers inodes in 32 bits; overlayfs puts the number of the layer above them. */
function inode(number: number): number {
  return number % 2 ** 32;
}
