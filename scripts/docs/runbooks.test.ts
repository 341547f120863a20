import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

const text = (folder: string, kind: RegExp): string =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => kind.test(name) && !/\.test\.ts$|testing\//.test(name))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'))
    .join('\n');

const functions = text('functions', /\.ts$/) + text('shared', /\.ts$/);
const runner = text('infra/runner', /\.(ts|sh)$/) + text('shared', /\.ts$/);
const outcomes = readFileSync(join(root, 'docs/outcomes.md'), 'utf8');

const pages = readdirSync(join(root, 'docs/runbooks')).map(
  (name) => [name, readFileSync(join(root, 'docs/runbooks', name), 'utf8')] as const,
);

test.each(pages)('%s: queries use messages of the functions', (_, page) => {
  const exact = [...page.matchAll(/message = "([^"]+)"/g)].map(([, message = '']) => message);
  const lists = [...page.matchAll(/message in \[([^\]]+)\]/g)].flatMap(([, list = '']) =>
    [...list.matchAll(/"([^"]+)"/g)].map(([, message = '']) => message),
  );
  for (const message of [...exact, ...lists]) expect(functions).toContain(`'${message}'`);
});

test.each(pages)('%s: queries use messages of the runner', (_, page) => {
  const queries = [...page.matchAll(/ask \$\{prefix\}_runners .*?'\n/gs)].map(([query]) => query);
  const patterns = queries.flatMap((query) => [...query.matchAll(/@message like \/(.+?)\//g)]);
  for (const [, pattern = ''] of patterns) {
    // Alternatives with a regular expression inside stand for text around a value.
    const plain = pattern.split('|').filter((part) => /^[A-Za-z: -]+$/.test(part));
    for (const part of plain) expect(runner).toContain(part.replace(/^reported: .*/, 'reported: ').trim());
  }
});

test.each(pages)('%s: queries use reasons of the table of outcomes', (_, page) => {
  for (const [, reason = ''] of page.matchAll(/record\.reason = "([^"]+)"/g))
    expect(outcomes).toContain(`\`${reason}\``);
});
