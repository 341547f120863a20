import type { Layer } from '../../../../shared/snapshot/manifest.ts';

/** More layers than this make every look-up of a file that is not there slow: overlayfs asks each of them. */
export const MAX_STACK = 12;

/** A stack may hold this many times the bytes that are still seen through it. */
export const MAX_WASTE = 2;

/**
 * Whether the whole tree is to be packed anew instead of its changes alone: the stack is too high, or more than half of
 * what it holds is hidden by what lies above.
 *
 * @param layers of the snapshot below
 * @param changedBytes what this save would add
 * @param seenBytes size of the tree as it is seen now
 */
export function shouldCompact(layers: readonly Layer[], changedBytes: number, seenBytes: number): boolean {
  if (layers.length === 0) return false;
  if (layers.length + 1 > MAX_STACK) return true;
  const stacked = layers.reduce((sum, layer) => sum + layer.contentBytes, changedBytes);
  return stacked > MAX_WASTE * seenBytes;
}
