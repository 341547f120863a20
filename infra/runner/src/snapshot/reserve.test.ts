import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { reserves } from './reserve.ts';

const GIB = 2 ** 30;

describe('the reserve', () => {
  test('of one tree leaves what the disk has beyond the shared blocks', () => {
    const { reserved, isTight } = reserves([{ free: 60 * GIB, shared: 5 * GIB }], 20 * GIB, GIB, 0);
    expect(reserved).toEqual([60 * GIB - 14 * GIB]);
    expect(isTight).toBe(false);
  });

  test('is nothing if the disk has room for all', () => {
    expect(reserves([{ free: 10 * GIB, shared: GIB }], 100 * GIB, GIB, 0).reserved).toEqual([0]);
  });

  test('on a tight disk still stops new files', () => {
    const { reserved, isTight } = reserves([{ free: 60 * GIB, shared: 30 * GIB }], 20 * GIB, GIB, 0);
    expect(isTight).toBe(true);
    expect(reserved).toEqual([60 * GIB - 19 * GIB]);
  });

  test('keeps the sum of all that trees can write, and a fill, within the disk', () => {
    const size = fc.integer({ min: 0, max: 1000 });
    const tree = fc.record({ free: size, shared: size });
    fc.assert(
      fc.property(fc.array(tree, { minLength: 1, maxLength: 4 }), size, size, (trees, free, lacking) => {
        const { reserved, isTight } = reserves(trees, free, 10, lacking);
        const writable = trees.reduce((sum, each, index) => sum + each.free - (reserved[index] ?? 0), 0);
        const shared = trees.reduce((sum, each) => sum + each.shared, 0);
        if (isTight) expect(writable + lacking + 10).toBeLessThanOrEqual(Math.max(free, lacking + 10) + 1e-6);
        else expect(writable + shared + lacking + 10).toBeLessThanOrEqual(free + 1e-6);
        for (const [index, each] of reserved.entries()) {
          expect(each).toBeGreaterThanOrEqual(0);
          expect(each).toBeLessThanOrEqual(trees[index]?.free ?? 0);
        }
      }),
    );
  });
});
