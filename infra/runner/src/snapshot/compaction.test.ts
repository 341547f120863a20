import { describe, expect, test } from 'vitest';
import type { Layer } from '../../../../shared/snapshot/format-1/manifest.ts';
import { MAX_STACK, MAX_WASTE, shouldCompact } from './compaction.ts';

const layers = (...contentBytes: number[]): Layer[] =>
  contentBytes.map((bytes, index) => ({
    sha256: String(index).padStart(64, '0'),
    bytes: 1,
    chunkBytes: 1024,
    chunks: ['0'.repeat(64)],
    overlayOnly: false,
    files: 1,
    contentBytes: bytes,
  }));

test('the first snapshot has nothing to compact', () => {
  expect(shouldCompact([], 1_000, 1)).toBe(false);
});

describe('the height of the stack', () => {
  test(`goes up to ${MAX_STACK} layers and not beyond`, () => {
    const low = Array.from({ length: MAX_STACK - 1 }, () => 1);
    expect(shouldCompact(layers(...low), 1, 1_000)).toBe(false);
    expect(shouldCompact(layers(...low, 1), 1, 1_000)).toBe(true);
  });
});

describe('hidden bytes', () => {
  test('may be as many as the bytes of the tree', () => {
    expect(shouldCompact(layers(1_000), 1_000, 1_000)).toBe(false);
    expect(shouldCompact(layers(1_000), 1_000 * (MAX_WASTE - 1) + 1, 1_000)).toBe(true);
  });

  test('a tree that shrank to a tenth is packed anew, though little was added', () => {
    expect(shouldCompact(layers(1_000, 10), 0, 100)).toBe(true);
  });

  test('a night without changes never is', () => {
    expect(shouldCompact(layers(1_000), 0, 1_000)).toBe(false);
  });
});
