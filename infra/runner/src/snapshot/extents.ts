import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { UNIT_BYTES as UNIT, unitsOf } from '../../../../shared/snapshot/units.ts';

/** Bytes `start` up to `end` of a file, which the disk has from byte `physical` on. */
export type Extent = { start: number; end: number; physical: number; isShared: boolean };

/** Flags of `fiemap_extent` (linux/fiemap.h): the address is unknown, or not yet decided. */
const UNKNOWN = 0x2 | 0x4;
const SHARED = 0x2000;

/** xfs_io prints blocks of 512 bytes. */
const BLOCK = 512;

/** `  12: [8392..8399]:        8592..8599           8   0x2001` */
const LINE = /^\s*\d+: \[(\d+)\.\.(\d+)\]:\s+(?:hole|(\d+)\.\.\d+)\s+\d+(?:\s+0x([0-9a-f]+))?/;

/**
 * The extents of a file in ascending order; holes are left out.
 *
 * @param options.isSettled writes the file to the disk first, so that every address is final. Else extents without an address are
 *   left out
 * @throws if the file system does not report an address
 */
export async function extentsOf(file: string, { isSettled = true } = {}): Promise<Extent[]> {
  const commands = isSettled ? ['-c', 'fsync', '-c', 'fiemap -v'] : ['-c', 'fiemap -v'];
  const child = spawn('xfs_io', ['-r', ...commands, file], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new Error(`xfs_io did not run: ${cause.message}`, { cause })));
    child.once('close', resolve);
  });
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (problem += piece));
  const extents: Extent[] = [];
  const read = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const extent = parseExtent(line);
      if (extent === 'unknown' && isSettled)
        throw new Error(`${file} has an extent without an address: ${line}`);
      if (extent && extent !== 'unknown') extents.push(extent);
    }
  })();
  const [code] = await Promise.all([ended, read]);
  if (code !== 0 || problem !== '')
    throw new Error(`the extents of ${file} cannot be read: ${problem.trim()}`);
  return extents;
}

/** The extent of a line, or undefined for a hole or a heading. */
export function parseExtent(line: string): Extent | 'unknown' | undefined {
  const [, first, last, physical, flags] = LINE.exec(line) ?? [];
  if (physical === undefined) return undefined;
  const bits = Number.parseInt(flags ?? '0', 16);
  if ((bits & UNKNOWN) !== 0) return 'unknown';
  return {
    start: Number(first) * BLOCK,
    end: (Number(last) + 1) * BLOCK,
    physical: Number(physical) * BLOCK,
    isShared: (bits & SHARED) !== 0,
  };
}

/**
 * The units of an image that differ from its parent, as a map of one byte per unit. A unit is unchanged if both files have each of
 * its bytes at the same address of the disk, or both have none there: both files were one clone, and a clone never writes to a
 * block that another file refers to. The flag for shared blocks is no evidence: a third clone sets it too.
 *
 * @param parent undefined: there is none, so every unit that has blocks counts
 * @param bytes size of the image
 */
export function changedUnits(
  parent: readonly Extent[] | undefined,
  image: readonly Extent[],
  bytes: number,
): Uint8Array {
  const changed = new Uint8Array(unitsOf(bytes));
  const mark = (start: number, end: number) =>
    changed.fill(1, Math.floor(start / UNIT), Math.ceil(Math.min(end, bytes) / UNIT));
  const theirs = parent ?? [];
  let [mine, other] = [0, 0];
  /** Everything before it is compared. */
  let at = 0;
  while (mine < image.length || other < theirs.length) {
    const [left, right] = [image[mine], theirs[other]];
    const from = Math.max(at, Math.min(left?.start ?? Infinity, right?.start ?? Infinity));
    const inLeft = left !== undefined && left.start <= from;
    const inRight = right !== undefined && right.start <= from;
    // Up to where both files stay as they are at `from`.
    const to = Math.min(
      (inLeft ? left.end : left?.start) ?? Infinity,
      (inRight ? right.end : right?.start) ?? Infinity,
    );
    const isSame =
      inLeft && inRight && left.physical + (from - left.start) === right.physical + (from - right.start);
    if (!isSame) mark(from, to);
    at = to;
    if (left && left.end <= at) mine += 1;
    if (right && right.end <= at) other += 1;
  }
  return changed;
}

/** Bytes of a file that another file shares. */
export function sharedBytes(extents: readonly Extent[]): number {
  return extents.reduce((sum, extent) => sum + (extent.isShared ? extent.end - extent.start : 0), 0);
}
