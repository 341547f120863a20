import { expect, test } from 'vitest';
import { compare, table } from './report.ts';
import { svg } from './svg.ts';

const restore = compare({ what: 'restore', against: 'tar x', goal: 0.35 }, [1, 2, 9], [4, 4, 4]);
const size = compare({ what: 'size', against: 'tar | zstd', goal: 1.05, unit: 'MB' }, [2e6], [1e6]);

test('a ratio is the median of the ratios within a round, not the ratio of medians', () => {
  expect(compare({ what: 'x', against: 'y', goal: 1 }, [1, 10, 3], [1, 100, 1]).ratio).toBe(1);
  expect(restore).toMatchObject({ ours: 2, theirs: 4, ratio: 0.5 });
  expect(() => compare({ what: 'x', against: 'y', goal: 1 }, [1], [1, 2])).toThrow('different rounds');
});

test('the table shows which goals are met', () => {
  const [, first, second] = table([{ ...restore, ratio: 0.3 }, size]).split('\n');
  expect(first).toMatch(/restore +tar x +2\.00 s +4\.00 s +0\.30 +<= 0\.35 +met$/);
  expect(second).toMatch(/size +tar \| zstd +2\.0 MB +1\.0 MB +2\.00 +<= 1\.05 +missed$/);
});

test('the picture has every figure, and names that are safe in XML', () => {
  const picture = svg('Restore <&>', 'two cores', [restore, size]);
  expect(picture).toContain('Restore &lt;&amp;>');
  expect(picture).toContain('0.50 (2.00 s)');
  expect(picture).toContain('2.00 (2.0 MB)');
  expect(picture.match(/<rect /g)).toHaveLength(5);
});
