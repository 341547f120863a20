import type { Layer } from '../../../../shared/snapshot/format-1/manifest.ts';

/** Most layers of a stack. Overlayfs searches each of them for a file that does not exist. */
export const MAX_STACK = 12;

/** A stack may hold this many times the bytes of the merged tree. */
export const MAX_WASTE = 2;

/**
 * Whether a save packs the whole tree instead of its changes: the stack is too high, or upper layers hide more than half of
 * its bytes.
 *
 * @param layers of the parent snapshot
 * @param changedBytes size of the changes
 * @param treeBytes size of the merged tree
 */
export function shouldCompact(layers: readonly Layer[], changedBytes: number, treeBytes: number): boolean {
  if (layers.length === 0) return false;
  if (layers.length + 1 > MAX_STACK) return true;
  const stacked = layers.reduce((sum, layer) => sum + layer.contentBytes, changedBytes);
  return stacked > MAX_WASTE * treeBytes;
}
