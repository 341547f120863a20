import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { uses } from './terminology.ts';

const root = resolve(import.meta.dirname, '../..');

/** History keeps its words, and the samples of events are AWS's own. */
const EXEMPT =
  /^(CHANGELOG\.md|LICENSE|package-lock\.json|test\/fixtures\/events\/|scripts\/check\/terminology)/;
const TEXT = /\.(ts|mjs|md|tf|hcl|tftpl|sh|py|service|json)$/;

test('no file uses a word that has a term of the field', () => {
  const files = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
  const checked = files.filter((file) => TEXT.test(file) && !EXEMPT.test(file));
  expect(checked.length).toBeGreaterThan(300);
  expect(checked.flatMap((file) => uses(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
});

test.each([
  'const ending = done();',
  'lets it go',
  'the function buries the record',
  'a machine of the group',
  'one per host: fakeHouse',
])('finds: %s', (text) => {
  expect(uses('x.ts', text)).toHaveLength(1);
});

test.each(['in a state machine', 'on a fresh machine', 'ending in .zip', 'goes on'])(
  'accepts: %s',
  (text) => {
    expect(uses('x.ts', text)).toEqual([]);
  },
);
