import { lstat, mkdir, rm } from 'node:fs/promises';
import type { Layer } from '../../../../shared/snapshot/format-1/manifest.ts';
import { type ChildProcessFailed, execute } from '../child-process.ts';
import type { Paths } from './paths.ts';

/** Extraction without root cannot reproduce this layer: it needs a mount. */
export class NeedsOverlay extends Error {
  override readonly name = 'NeedsOverlay';
}

/** One entry of a layer. A path is relative to the tree, and holds one character per byte (latin1). */
export type ListedEntry = { path: string; kind: 'directory' | 'whiteout' | 'other' };

/**
 * Extracts layers over each other where nothing can be mounted: on a laptop. A whiteout, which overlayfs stores as a character
 * device 0/0, deletes the entry of the layers below at its path.
 *
 * @param target directory that receives the tree; nothing outside it is written or deleted
 * @throws {NeedsOverlay} if a layer moves or hides whole directories of those below, or has a name with a line break
 */
export async function extractLayers(
  layers: readonly Layer[],
  paths: Paths,
  target: string,
  signal?: AbortSignal,
): Promise<void> {
  const above = layers.slice(1).find((layer) => layer.overlayOnly);
  if (above) {
    throw new NeedsOverlay(`layer ${above.sha256} can only be mounted, and mounting needs root`);
  }
  const options = signal ? { signal } : {};
  await mkdir(target, { recursive: true });
  for (const layer of layers) {
    const file = paths.layerFile(layer.sha256);
    const listing = await execute('unsquashfs', ['-lln', '-no-progress', '-d', '', file], {
      ...options,
      encoding: 'latin1',
    });
    const entries = parseListing(listing);
    const whiteouts = entries.filter(({ kind }) => kind === 'whiteout');
    await makeRoom(target, entries);
    await execute(
      'unsquashfs',
      ['-no-progress', '-no-xattrs', '-force', '-dest', target, file],
      options,
    ).catch((error: ChildProcessFailed) => {
      // 2: complete, except for entries that only root can create. Whiteouts are such entries, and are removed here anyway.
      if (error.exitCode !== 2 || whiteouts.length === 0) throw error;
    });
    for (const { path } of whiteouts) await rm(inside(target, path), { recursive: true, force: true });
  }
}

/**
 * Removes from the tree what an entry of the next layer replaces. Parents come before their children, so each parent of a path
 * is a real directory by the time the path is used: no symbolic link of a lower layer leads out of the tree.
 */
async function makeRoom(target: string, entries: readonly ListedEntry[]): Promise<void> {
  for (const { path, kind } of entries) {
    const at = inside(target, path);
    const found = await lstat(at).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!found) continue;
    if (kind === 'directory' && found.isDirectory()) continue;
    await rm(at, { recursive: true, force: true });
    if (kind === 'directory') await mkdir(at);
  }
}

function inside(target: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${target}/`), Buffer.from(path, 'latin1')]);
}

/**
 * Entries of a listing by `unsquashfs -lln`. A listing has one line per entry, but a name can hold line breaks and imitate a
 * line. So a path is accepted only if it stays in the tree, its parent is a listed directory, and it is listed once.
 *
 * @throws {NeedsOverlay} if the lines are not those of one plain tree
 */
export function parseListing(listing: string): ListedEntry[] {
  const entries: ListedEntry[] = [];
  const directories = new Set<string>();
  const known = new Set<string>();
  for (const line of listing.split('\n')) {
    if (line === '') continue;
    const [, type = '', device = '', rest] =
      /^([-dlcbps])[-rwxsStT]{9} \d+\/\d+ +(\d+|\d+, *\d+) \d{4}-\d\d-\d\d \d\d:\d\d (.*)$/s.exec(line) ?? [];
    if (rest === undefined)
      throw new NeedsOverlay('a layer has a name with a line break: it can only be mounted');
    if (rest === '' && type === 'd' && known.size === 0) {
      known.add('');
      directories.add('');
      continue;
    }
    const path = (type === 'l' ? rest.slice(0, rest.lastIndexOf(' -> ')) : rest).slice(1);
    const names = path.split('/');
    const plain = rest.startsWith('/') && names.every((name) => name !== '' && name !== '.' && name !== '..');
    if (!plain || known.has(path) || !directories.has(names.slice(0, -1).join('/'))) {
      throw new NeedsOverlay(`a layer lists ${JSON.stringify(path)}, which is no plain path of its tree`);
    }
    known.add(path);
    if (type === 'd') directories.add(path);
    const whiteout = type === 'c' && /^0, *0$/.test(device);
    entries.push({ path, kind: type === 'd' ? 'directory' : whiteout ? 'whiteout' : 'other' });
  }
  return entries;
}
