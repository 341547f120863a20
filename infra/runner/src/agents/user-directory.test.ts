import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { userDirectory } from './user-directory.ts';

let folder: string;
let given: string[];
const units = { giveDirectory: async (path: string, user: string) => void given.push(`${path} to ${user}`) };
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-user-directory-'));
  given = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

test('a new directory is given to the user', async () => {
  await userDirectory(units, join(folder, 'work'), 'runner');
  expect(given).toEqual([`${join(folder, 'work')} to runner`]);
});

test('one that exists stays as it is', async () => {
  mkdirSync(join(folder, 'work'));
  await userDirectory(units, join(folder, 'work'), 'runner');
  expect(given).toEqual([]);
});

test('one that cannot be made is an error', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(userDirectory(units, join(folder, 'file/work'), 'runner')).rejects.toThrow('ENOTDIR');
});
