import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** The last column of the table of complaints: a file, and words of the test in it. */
const rows = [
  ...readFileSync(join(root, 'docs/scaling.md'), 'utf8').matchAll(/\| `([^`]+)`: ([^|]+) \|$/gm),
].map(([, file = '', words = '']): [string, string] => [file, words]);

test('each complaint about scaling has a test', () => expect(rows.length).toBeGreaterThan(30));

test.each(rows)('%s has the test: %s', (file, words) => {
  expect(readFileSync(join(root, file), 'utf8')).toContain(words);
});
