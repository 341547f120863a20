import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UNIT_BYTES } from '../../../../shared/snapshot/units.ts';
import { changedUnits, type Extent, parseExtent } from './extents.ts';

const BLOCK = 4096;
const BLOCKS = 96;

test('reads the lines of xfs_io', () => {
  expect(parseExtent('   0: [0..8271]:           320..8591         8272   0x0')).toEqual({
    start: 0,
    end: 8272 * 512,
    physical: 320 * 512,
    isShared: false,
  });
  expect(parseExtent('  12: [8392..8399]:        8592..8599           8 0x2001')?.valueOf()).toMatchObject({
    isShared: true,
  });
  expect(parseExtent('   1: [8272..8391]:        hole               120')).toBeUndefined();
  expect(parseExtent(' EXT: FILE-OFFSET          BLOCK-RANGE      TOTAL FLAGS')).toBeUndefined();
  expect(parseExtent('   0: [0..7]:              0..7                 8   0x7')).toBe('unknown');
});

/** Extents of a file whose blocks have these places on the disk, undefined for a hole; some neighbours are joined. */
function extents(places: readonly (number | undefined)[], isJoined: boolean): Extent[] {
  const found: Extent[] = [];
  for (const [block, place] of places.entries()) {
    if (place === undefined) continue;
    const last = found.at(-1);
    const physical = place * BLOCK;
    if (isJoined && last?.end === block * BLOCK && last.physical + (last.end - last.start) === physical) {
      last.end += BLOCK;
    } else found.push({ start: block * BLOCK, end: (block + 1) * BLOCK, physical, isShared: false });
  }
  return found;
}

const places = fc.array(fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }), {
  minLength: BLOCKS,
  maxLength: BLOCKS,
});

test('a unit is changed if and only if one of its blocks has another place', () => {
  fc.assert(
    fc.property(places, places, fc.boolean(), (mine, other, isJoined) => {
      // Few places, so that many blocks are equal; successive ones, so that extents can be joined.
      const at = (list: typeof mine) =>
        list.map((place, block) => (place === undefined ? undefined : place * 1000 + block));
      const [image, parent] = [at(mine), at(other)];
      const found = changedUnits(extents(parent, isJoined), extents(image, true), BLOCKS * BLOCK);
      const perUnit = UNIT_BYTES / BLOCK;
      const expected = Array.from({ length: BLOCKS / perUnit }, (_, unit) =>
        image.some((place, block) => Math.floor(block / perUnit) === unit && place !== parent[block]) ? 1 : 0,
      );
      expect([...found]).toEqual(expected);
    }),
  );
});

test('without a parent every unit with a block counts, also the last and partial one', () => {
  const image = [{ start: 0, end: 4096, physical: 0, isShared: false }];
  expect([...changedUnits(undefined, image, 2 * UNIT_BYTES)]).toEqual([1, 0]);
});
