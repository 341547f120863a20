import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
  expect(given).toHaveLength(1);
  expect(given[0]).toMatch(/ to runner$/);
  expect(readdirSync(folder)).toEqual(['work']);
});

test('it exists only when it is given: a killed aw-runner leaves none that jobs cannot write', async () => {
  const killed = { giveDirectory: () => Promise.reject(new Error('killed')) };
  await expect(userDirectory(killed, join(folder, 'work'), 'runner')).rejects.toThrow('killed');
  expect(existsSync(join(folder, 'work'))).toBe(false);
  await userDirectory(units, join(folder, 'work'), 'runner');
  expect(given).toHaveLength(1);
  expect(readdirSync(folder)).toEqual(['work']);
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
