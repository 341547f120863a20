import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findPlaces, inTree, makePlace, pathOf, warmPathsProblem } from './warm-paths.ts';

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'hearth-warm-paths-')));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('directories of tools, of a work directory and of Docker can be warm together', () => {
  const paths = [
    '/home/runner/.cargo/registry',
    '/home/runner/.cargo/git',
    '/var/lib/hearth-agent/gha/work/monorepo',
    '/var/lib/docker',
    '/opt/go/pkg/mod',
    '/nix',
  ];
  expect(warmPathsProblem(paths, ['/mnt/ephemeral/aw'])).toBeUndefined();
});

test.each([
  [['/a/b', '/a/b'], '/a/b is named twice'],
  [['/a/b', '/a/b/c'], '/a/b/c is inside /a/b: name /a/b alone'],
  [['/a/b/c', '/x', '/a/b'], '/a/b/c is inside /a/b: name /a/b alone'],
  [['relative'], 'relative must be an absolute path'],
  [['/a/../b'], '/a/../b must be an absolute path'],
  [['/a/'], '/a/ must be an absolute path'],
  [['/with space'], '/with space must be an absolute path'],
  [[`/${'a'.repeat(200)}`], 'has more than 200 characters'],
  [Array.from({ length: 31 }, (_, index) => `/a/${index}`), '31 directories are more than 30'],
  [['/'], '/ must be an absolute path'],
  [['/usr'], '/usr overlaps /usr/bin'],
  [['/var'], '/var overlaps /var/log'],
  [['/tmp/cache'], '/tmp/cache overlaps /tmp'],
  [['/home/runner'], '/home/runner is a home directory, which can hold credentials'],
  [['/root'], '/root is a home directory'],
  [['/mnt/ephemeral/aw/trees'], '/mnt/ephemeral/aw/trees overlaps /mnt/ephemeral/aw'],
])('%j is refused by name', (paths, reason) => {
  expect(warmPathsProblem(paths, ['/mnt/ephemeral/aw'])).toContain(reason);
});

test('a name in the tree stands for one path, and two paths never have one name', () => {
  const paths = ['/home/runner/.cargo', '/home/runner.cargo', '/home-runner/.cargo'];
  expect(new Set(paths.map(inTree)).size).toBe(paths.length);
  for (const path of paths) expect(pathOf(inTree(path).slice('paths/'.length))).toBe(path);
});

test('a place is found through the links of the image, and one that leads elsewhere is left out by name', async () => {
  symlinkSync('/etc', join(folder, 'system'));
  writeFileSync(join(folder, 'file'), '');
  const path = (name: string) => join(folder, name);
  const { usable, refused } = await findPlaces(
    ['/var/lib/hearth-missing/cache', path('system/apt'), path('file'), '/var/lib/hearth-missing'],
    [],
  );
  expect(usable).toEqual([
    {
      path: '/var/lib/hearth-missing/cache',
      place: expect.stringMatching(/\/var\/lib\/hearth-missing\/cache$/),
    },
  ]);
  expect(refused.map((line) => line.replaceAll(folder, ''))).toEqual([
    expect.stringMatching(/^\/system\/apt is not warm on this instance: .*\/etc\/apt overlaps \/etc/),
    '/file is not warm on this instance: it is no directory',
    '/var/lib/hearth-missing is not warm on this instance: its links lead to the place of /var/lib/hearth-missing/cache',
  ]);
});

test('a place exists only when it has its owner: a killed aw-runner leaves none that jobs cannot write', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const { PATH } = process.env;
  const getent = (ids: string) =>
    writeFileSync(join(bin, 'getent'), `#!/bin/sh\necho user:x:${ids}\n`, { mode: 0o755 });
  const place = join(folder, 'gha/work');
  const of = { owner: 'user', ofOwner: [join(folder, 'gha')] };
  process.env.PATH = `${bin}:${PATH}`;
  try {
    getent('none:none');
    await expect(makePlace(place, of)).rejects.toThrow('uid');
    expect(existsSync(place)).toBe(false);
    getent(`${process.getuid?.()}:${process.getgid?.()}`);
    await makePlace(place, of);
    expect(existsSync(place)).toBe(true);
  } finally {
    process.env.PATH = PATH;
  }
});
