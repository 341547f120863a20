import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { measureTree } from './walk.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-walk-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('counts all files, also those with names that are no text, and hard links once', async () => {
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  writeFileSync(join(folder, 'a/b/file'), 'abc');
  linkSync(join(folder, 'a/b/file'), join(folder, 'a/again'));
  symlinkSync('/usr', join(folder, 'a/away'));
  symlinkSync('nowhere', join(folder, 'broken'));
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0x0a, 0x20])]), 'de');
  expect(await measureTree(folder)).toEqual({ files: 2, contentBytes: 5 });
});

test('a missing tree has no files', async () => {
  expect(await measureTree(join(folder, 'none'))).toEqual({ files: 0, contentBytes: 0 });
});
