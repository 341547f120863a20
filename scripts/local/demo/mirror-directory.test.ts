import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mirrorDirectory } from './mirror-directory.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hearth-sync-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('copies a tree once, and then only what changed', async () => {
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  await mkdir(join(source, 'deep/er'), { recursive: true });
  await writeFile(join(source, 'a'), 'one');
  await writeFile(join(source, 'deep/er/b'), 'two');
  await symlink('../a', join(source, 'deep/link'));

  expect(await mirrorDirectory(source, target)).toBe(3);
  expect(await mirrorDirectory(source, target)).toBe(0);

  await writeFile(join(source, 'deep/er/b'), 'three');
  await rm(join(source, 'a'));
  expect(await mirrorDirectory(source, target)).toBe(2);
  expect(await readFile(join(target, 'deep/er/b'), 'utf8')).toBe('three');
  expect(await readdir(target)).toEqual(['deep']);
});
