import { expect, test } from 'vitest';
import { NeedsOverlay, parseListing } from './extract.ts';

const ROOT = 'drwxr-xr-x 0/0                      58 2026-11-25 17:42 ';
const line = (type: string, path: string, device = '24') =>
  `${type}rw-r--r-- 0/0                  ${device} 2026-11-25 17:42 ${path}`;

test('a listing gives directories before their children, and whiteouts', () => {
  const listing = [
    ROOT,
    line('d', '/d ir'),
    line('c', '/d ir/gone', '0,  0'),
    line('c', '/d ir/null', '1,  3'),
    line('l', '/link -> f'),
  ];
  expect(parseListing(`${listing.join('\n')}\n`)).toEqual([
    { path: 'd ir', kind: 'directory' },
    { path: 'd ir/gone', kind: 'whiteout' },
    { path: 'd ir/null', kind: 'other' },
    { path: 'link', kind: 'other' },
  ]);
});

test.each([
  ['a parent directory', line('c', '..', '0,  0')],
  ['a path through a parent directory', line('c', '/d/../../x', '0,  0')],
  ['a path that does not begin at the root', line('c', 'etc', '0,  0')],
  ['an empty name', line('c', '//etc', '0,  0')],
  ['a parent that is no directory of the layer', line('c', '/link/passwd', '0,  0')],
  ['a path that is listed twice', line('c', '/d', '0,  0')],
  ['the rest of a name with a line break', 'second line'],
])('refuses %s', (_, evil) => {
  const listing = [ROOT, line('d', '/d'), line('l', '/link -> /etc'), evil].join('\n');
  expect(() => parseListing(listing)).toThrow(NeedsOverlay);
});
